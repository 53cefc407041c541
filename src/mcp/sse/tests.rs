use proptest::prelude::*;

use super::*;
use crate::mcp::scan::property_tests::{cases, mutated};

fn decode(pieces: &[&[u8]]) -> (Vec<Event>, Result<(), Truncated>) {
    let mut decoder = Decoder::new(1_000);
    let events = pieces.iter().flat_map(|piece| decoder.push(piece).unwrap()).collect();
    (events, decoder.finish())
}

fn event(id: Option<&str>, name: Option<&str>, data: &str) -> Event {
    Event { id: id.map(str::to_owned), event: name.map(str::to_owned), data: data.to_owned(), retry: None }
}

#[test]
fn events_are_read_as_the_standard_has_it() {
    let data = |text: &str| vec![Event::of_data(text)];
    for (stream, expected) in [
        ("data: x\n\n", data("x")),
        ("data:x\n\n", data("x")),
        ("data:  x\n\n", data(" x")),
        ("data: x\r\n\r\n", data("x")),
        ("data: x\r\r", data("x")),
        ("\u{feff}data: x\n\n", data("x")),
        ("data: \u{feff}x\n\n", data("\u{feff}x")),
        ("data: a\ndata: b\ndata\n\n", data("a\nb\n")),
        ("data\n\n", data("")),
        ("\n\u{feff}data: x\n\n", vec![]),
        (": ping\n\ndata: x\n\n", data("x")),
        ("unknown: y\ndata: x\n\n", data("x")),
        ("event: message\nid: 7\ndata: {}\n\n", vec![event(Some("7"), Some("message"), "{}")]),
        ("id: a\0b\ndata: x\n\n", data("x")),
        ("id: 1\n\ndata: x\n\n", data("x")),
        ("event: e\n\ndata: x\n\n", data("x")),
        ("retry: 1x\ndata: x\n\n", data("x")),
        ("data: 1\n\ndata: 2\n\n", vec![Event::of_data("1"), Event::of_data("2")]),
        ("\n\n\n", vec![]),
        (":\n", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(decode(&[stream.as_bytes()]), (expected, Ok(())), "{stream:?}");
    }
    let (events, _) = decode(&[b"retry: 1500\ndata: x\n\n"]);
    assert_eq!(events[0].retry, Some(1_500));
}

#[test]
fn a_stream_that_ends_inside_an_event_is_told_apart() {
    for stream in
        ["data: x\n", "data: x", "d", "data: x\n\ndata", "id: 7\n", "data: 1\n\nevent: e\r\n", ": comm"]
    {
        assert_eq!(decode(&[stream.as_bytes()]).1, Err(Truncated), "{stream:?}");
    }
    assert_eq!(decode(&[b"data: x\n\ndata: y\n"]).0, vec![Event::of_data("x")]);
}

#[test]
fn a_line_end_split_between_pieces_is_one() {
    let (events, end) = decode(&[b"data: x\r", b"\n", b"\r", b"", b"\ndata: y\r", b"\r"]);
    assert_eq!((events, end), (vec![Event::of_data("x"), Event::of_data("y")], Ok(())));
    let (events, end) = decode(&[b"data: a\r", b"\ndata: b\r", b"\n\r\n"]);
    assert_eq!((events, end), (vec![Event::of_data("a\nb")], Ok(())), "no blank line between CR and LF");
    assert_eq!(decode(&[b"\xef", b"\xbb", b"\xbfdata: \xc3", b"\xa9\n\n"]).0, vec![Event::of_data("é")]);
}

#[test]
fn what_is_held_is_capped_and_must_be_utf8() {
    let fault = SseFault::TooLarge { event_bytes_max: 16 };
    let push = |pieces: &[&str]| {
        let mut decoder = Decoder::new(16);
        pieces.iter().try_fold(0, |events, piece| Ok(events + decoder.push(piece.as_bytes())?.len()))
    };
    assert_eq!(push(&["data: 0123456789\n\n"]), Ok(1));
    assert_eq!(push(&["data: 0123456789a\n\n"]), Err(fault));
    assert_eq!(push(&["data: 01", "23456789", "a"]), Err(fault), "before the line ends");
    assert_eq!(push(&["data: 1\ndata: 2\ndat"]), Err(fault), "all lines of one event together");
    assert_eq!(push(&[":0123456789abcdef"]), Err(fault), "a comment without end");
    assert_eq!(push(&[":01234\n:56789\n:01234\ndata:x\n\n", "data: 0123456789\n\n"]), Ok(2));
    assert_eq!(Decoder::new(16).push(b"data: \xff\n"), Err(SseFault::Encoding));
}

#[test]
fn an_event_is_written_in_a_form_that_cannot_be_broken_out_of() {
    let whole = Event {
        id: Some("1".to_owned()),
        event: Some("message".to_owned()),
        data: "{\"a\":\n1,\r\n\"b\":\r2}".to_owned(),
        retry: Some(3_000),
    };
    let expected = "id: 1\nevent: message\nretry: 3000\ndata: {\"a\":\ndata: 1,\ndata: \"b\":\ndata: 2}\n\n";
    assert_eq!(encode(&whole), expected);
    let sly = event(Some("1\ndata: forged\n\n"), Some("x\rdata: forged"), "");
    assert_eq!(encode(&sly), "data: \n\n");
    assert_eq!(decode(&[KEEP_ALIVE]), (vec![], Ok(())));
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn what_is_written_is_read_again_however_it_is_split(
        events in prop::collection::vec((
            prop::option::of("[a-z0-9]{0,4}"), prop::option::of("[a-z]{1,4}"), "[a-z é{}:\n\r]{0,20}"
        ), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (id, name, data) in &events {
            let one = event(id.as_deref(), name.as_deref(), data);
            stream.extend_from_slice(&encode(&one));
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            expected.push(Event { data, ..one });
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(&pieces), (expected, Ok(())));
    }

    #[test]
    fn any_bytes_in_any_pieces_read_the_same_and_never_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "data: a", "data:b", "data", "id: 1", "event: e", ":", "x", " ", "é", "\0", "\u{feff}", "\n", "\n\n", "\r",
            "\r\n", "\r\n\r\n",
        ]), 0..24),
        spoil in prop::option::of((any::<prop::sample::Index>(), any::<u8>(), any::<u8>())),
        cut: prop::sample::Index,
    ) {
        let mut bytes = pieces.concat().into_bytes();
        if let Some((place, with, how)) = spoil {
            bytes = mutated(bytes, place, with, how);
        }
        let run = |pieces: &[&[u8]]| {
            let mut decoder = Decoder::new(40);
            let mut events = Vec::new();
            for piece in pieces {
                events.extend(decoder.push(piece)?);
            }
            Ok::<_, SseFault>((events, decoder.finish()))
        };
        let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(run(&[&bytes]), run(&[a, b]));
    }
}
