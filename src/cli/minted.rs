//! A member key, shown this once, with configurations to paste.

use std::fmt::Write as _;

use super::output::{Style, one_line};
use crate::control::reply::MintedKey;

/// The page that shows a key.
pub fn render(minted: &MintedKey, style: Style) -> String {
    let (key, url) = (minted.key.expose(), minted.url.as_str());
    let mut text = String::new();
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    say(&format!(
        "{} for member {} of agent {}, shown this once:",
        style.strong("Member key"),
        one_line(&minted.member),
        one_line(&minted.agent)
    ));
    say("");
    say(&format!("    {}", style.good(key)));
    say("");
    say(&format!("URL for MCP clients (streamable HTTP): {url}"));
    say("");
    say(&style.strong("Clients that read JSON (mcpServers)"));
    say(&json_configuration(url, key));
    say("");
    say(&style.strong("Claude Code"));
    say(&format!("claude mcp add --transport http wicket {url} --header \"Authorization: Bearer {key}\""));
    say("");
    say(&style.strong("Python (needs: pip install 'mcp<2')"));
    say(&python(url, key));
    say("");
    say(&style.strong("curl"));
    say(&curl(url, key));
    for revoked in &minted.revoked {
        say("");
        say(&format!("The key before ({revoked}) answers 401 from now on."));
    }
    if !minted.hindrances.is_empty() {
        say("");
        say(&style.warn("Calls with this key are refused as things stand:"));
        for hindrance in &minted.hindrances {
            say(&format!("  - {}", one_line(hindrance)));
        }
    }
    say("");
    let mut last = String::new();
    let _infallible = write!(
        last,
        "Keep it like a password: the gate keeps a digest only. Lost? wicket key rotate '{}' '{}'",
        one_line(&minted.agent),
        one_line(&minted.member)
    );
    say(&style.faint(&last));
    text
}

fn json_configuration(url: &str, key: &str) -> String {
    let configuration = serde_json::json!({
        "mcpServers": {
            "wicket": {
                "type": "http",
                "url": url,
                "headers": { "Authorization": format!("Bearer {key}") }
            }
        }
    });
    serde_json::to_string_pretty(&configuration).unwrap_or_default()
}

fn python(url: &str, key: &str) -> String {
    format!(
        r#"python3 - <<'EOF'
import asyncio
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client as connect

async def main():
    async with connect("{url}", headers={{"Authorization": "Bearer {key}"}}) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            print(*(tool.name for tool in (await session.list_tools()).tools), sep="\n")

asyncio.run(main())
EOF"#
    )
}

fn curl(url: &str, key: &str) -> String {
    format!(
        "curl -s {url} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n  \
         -H 'Accept: application/json, text/event-stream' \\\n  \
         -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::reply::{KeyView, ShownOnce};
    use crate::model::{KeyId, MemberId, Timestamp};

    #[test]
    fn a_key_comes_with_configurations_to_paste() {
        let at = Timestamp::from_millis(1_795_310_401_020);
        let minted = MintedKey {
            agent: "my-first-agent".into(),
            member: "you@localhost".into(),
            record: KeyView {
                id: KeyId::mint(at, [1; 10]),
                member_id: MemberId::mint(at, [2; 10]),
                member: "you@localhost".into(),
                display_suffix: "wxyz".into(),
                created_at: at,
                last_used_at: None,
                revoked_at: None,
                rate: None,
            },
            key: ShownOnce::new("AAAAAAAAAAAAAAAAAAAAAAAAAAAAwxyz".into()),
            url: "http://127.0.0.1:7400/mcp".into(),
            revoked: vec![KeyId::mint(at, [3; 10])],
            hindrances: vec![
                "no connector is enabled: wicket agent services 'my-first-agent' --add SERVICE".into(),
            ],
        };
        insta::assert_snapshot!("minted", render(&minted, Style::plain()));
    }
}
