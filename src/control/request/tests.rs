use super::*;

fn keys(names: &[&str]) -> BTreeSet<ServiceKey> {
    names.iter().map(|name| ServiceKey::parse(name).unwrap()).collect()
}

#[test]
fn a_request_reads_back_and_a_misspelled_field_is_refused() {
    let request =
        AdminRequest::AgentServices { agent: "a".into(), services: ServicesChange::Add(keys(&["files"])) };
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(text, r#"{"do":"agent_services","agent":"a","services":{"add":["files"]}}"#);
    assert_eq!(serde_json::from_str::<AdminRequest>(&text).unwrap(), request);
    for bad in [
        r#"{"do":"agent_delete","agent":"a","forse":true}"#,
        r#"{"do":"agent_erase","agent":"a"}"#,
        r#"{"do":"agent_list","agent":"a"}"#,
        r#"{"agent":"a"}"#,
        r#"{"do":"audit_query","filter":{"agnet":"x"}}"#,
    ] {
        assert!(serde_json::from_str::<AdminRequest>(bad).is_err(), "{bad}");
    }
}

#[test]
fn services_are_set_added_and_removed() {
    let before = keys(&["files", "github"]);
    assert_eq!(ServicesChange::Set(keys(&["slack"])).apply(&before), keys(&["slack"]));
    assert_eq!(ServicesChange::Add(keys(&["slack"])).apply(&before), keys(&["files", "github", "slack"]));
    assert_eq!(ServicesChange::Remove(keys(&["files"])).apply(&before), keys(&["github"]));
    assert_eq!(ServicesChange::Remove(keys(&["files"])).enabling().count(), 0);
    let edit = ServicesChange::Edit { add: keys(&["slack"]), remove: keys(&["files"]) };
    assert_eq!(edit.apply(&before), keys(&["github", "slack"]));
    assert_eq!(edit.enabling().count(), 1);
}
