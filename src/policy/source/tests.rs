use super::*;

fn file(text: &str) -> SourceFile {
    SourceFile::new("a.cedar", text)
}

fn read_one(text: &str, known: &Known) -> Reading {
    read(std::slice::from_ref(&file(text)), known, crate::model::Show::Plain)
}

const FILE: &str = "// The first; of them\n@id(\"a\") permit(principal, action, resource);\n\n  // b; \"\n  @id(\"b\")\n  forbid(principal, action, resource)\n  when { context.s == \";\" }; @id(\"c\") permit(principal, action, resource);\n// the end";

#[test]
fn every_policy_has_its_place_and_its_text() {
    let reading = read_one(FILE, &Known::new());
    assert_eq!(reading.faults, []);
    let seen: Vec<_> =
        reading.policies.iter().map(Placed::info).map(|i| (i.key.to_string(), i.line)).collect();
    assert_eq!(seen, [("a".to_owned(), 2), ("b".to_owned(), 5), ("c".to_owned(), 7)]);
    for placed in &reading.policies {
        let rule = placed.rule();
        let at = FILE.find(&*rule.body.text).unwrap();
        assert_eq!((rule.place.line, rule.place.column), file(FILE).position(at), "{rule:?}");
        let inside = rule.body.text.len() - 3;
        assert_eq!(rule.position(inside), file(FILE).position(at + inside));
    }
}

#[test]
fn what_was_read_before_is_not_parsed_again_and_is_the_same_elsewhere() {
    let first = read_one(FILE, &Known::new());
    let known: Known =
        first.policies.iter().map(|p| (Arc::clone(&p.written.piece), Arc::clone(&p.written))).collect();
    let moved =
        format!("@id(\"new\") permit(principal, action, resource);\n{}", FILE.replace("// the end", ""));
    let second = read_one(&moved, &known);
    assert_eq!(second.faults, []);
    assert_eq!(second.policies.len(), 4);
    let plain = read_one(&moved, &Known::new());
    for (known, plain) in second.policies.iter().zip(&plain.policies) {
        let infos = [known, plain].map(|placed| serde_json::to_value(placed.info()).unwrap());
        assert_eq!(infos[0], infos[1]);
        let shared = first.policies.iter().any(|first| Arc::ptr_eq(&first.written, &known.written));
        assert_eq!(shared, known.info().key.as_str() != "new");
    }
}

#[test]
fn faults_are_those_of_the_whole_file() {
    let table = [
        ("permit(principal, action);", "a.cedar:1:"),
        (
            "@id(\"a\") permit(principal, action, resource);\n\n@id(\"b\") permit(principal, oops);",
            "a.cedar:3:",
        ),
        ("@id(\"a\") permit(principal, action, resource)", "a.cedar:1:"),
        ("\n\npermit(principal, action, resource);", "a.cedar:3:1: the policy has no `@id`"),
        (
            "@id(\"a\") permit(principal, action, resource);\n @id(\"t\") permit(principal == ?principal, action, resource);",
            "a.cedar:2:2: a policy with `?principal`",
        ),
        (
            "@id(\"a\") permit(principal, action, resource);\n @id(\"a\") forbid(principal, action, resource);",
            "a.cedar:2:2: the id `a` is taken (it stands at a.cedar:1 already",
        ),
        (";", "a.cedar:1:"),
    ];
    for (text, expected) in table {
        let said: Vec<String> =
            read_one(text, &Known::new()).faults.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|fault| fault.starts_with(expected)), "{text}: {said:?}");
        if let Err(errors) = parser::parse_policyset_and_also_return_policy_text(text) {
            let whole: Vec<String> =
                errors.iter().map(|e| located(&file(text), e, &e.to_string()).to_string()).collect();
            assert_eq!(said, whole, "{text}");
        }
    }
}
