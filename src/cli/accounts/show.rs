//! Replies about agents, members, groups, keys and sessions, as text.

use crate::cli::minted;
use crate::cli::output::{Style, Table, ago, counted, one_line};
use crate::control::AdminReply;
use crate::control::reply::{AgentView, GroupView, KeyView, MemberView, SessionView};
use crate::model::{AgentStatus, MemberStatus, RateLimit, Role, Timestamp, TrustMode};

pub fn agents(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::Agent(view) => Some(agent_page(view, style)),
        AdminReply::Agents(views) if views.is_empty() => {
            Some("no agents yet; make one: wicket agent create NAME --service SERVICE\n".to_owned())
        }
        AdminReply::Agents(views) => {
            let mut table = Table::new(&["NAME", "STATUS", "TRUST", "CONNECTORS", "MEMBERS", "KEYS", "ID"]);
            for view in views {
                table.row([
                    view.agent.name.clone(),
                    agent_status(view.agent.status).to_owned(),
                    trust(view.agent.trust).to_owned(),
                    services(view),
                    view.members.len().to_string(),
                    view.members.iter().map(|member| member.keys.len()).sum::<usize>().to_string(),
                    view.agent.id.to_string(),
                ]);
            }
            Some(table.render(0, style))
        }
        AdminReply::Gone(what) => Some(format!("{}\n", one_line(what))),
        _ => None,
    }
}

fn agent_page(view: &AgentView, style: Style) -> String {
    let agent = &view.agent;
    let status = match agent.status {
        AgentStatus::Active => style.good("active"),
        AgentStatus::Disabled => style.bad("disabled: every call answers 403"),
    };
    let rate = agent
        .rate
        .map_or_else(|| "as configured".to_owned(), |limit| format!("{} for each key", rate(limit)));
    let groups: Vec<&str> = view.groups.iter().map(|group| group.as_str()).collect();
    let mut text = format!("{}  {status}\n", style.strong(&one_line(&agent.name)));
    for (label, value) in [
        ("id", agent.id.to_string()),
        ("trust", trust(agent.trust).to_owned()),
        ("connectors", services(view)),
        ("rate limit", rate),
        ("groups", if groups.is_empty() { "none".to_owned() } else { groups.join(", ") }),
        ("created", agent.created_at.to_string()),
    ] {
        text.push_str(&format!("  {label:<11} {value}\n"));
    }
    if view.members.is_empty() {
        text.push_str(&format!(
            "\nno members yet; add one: wicket member add '{}' MEMBER\n",
            one_line(&agent.name)
        ));
    } else {
        text.push('\n');
        text.push_str(&member_table(&view.members).render(2, style));
    }
    text
}

pub fn members(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::Member(member) => {
            let next = match member.status {
                MemberStatus::Approved => "may hold a key: wicket key create AGENT MEMBER",
                MemberStatus::Pending => "waits for: wicket member approve AGENT MEMBER",
                MemberStatus::Rejected => "its calls answer 403",
            };
            Some(format!(
                "member {} is {}; {next}\n  id {}\n",
                one_line(&member.name),
                member_status(member.status),
                member.id
            ))
        }
        AdminReply::Members(views) if views.is_empty() => {
            Some("no members yet; add one: wicket member add AGENT MEMBER\n".to_owned())
        }
        AdminReply::Members(views) => Some(member_table(views).render(0, style)),
        AdminReply::Gone(what) => Some(format!("{}\n", one_line(what))),
        _ => None,
    }
}

fn member_table(views: &[MemberView]) -> Table {
    let mut table = Table::new(&["MEMBER", "STATUS", "ROLE", "GROUPS", "KEY", "LAST USED", "ID"]);
    for view in views {
        let groups: Vec<&str> = view.member.groups.iter().map(|group| group.as_str()).collect();
        let key = view.keys.first();
        table.row([
            view.member.name.clone(),
            member_status(view.member.status).to_owned(),
            if view.member.role == Role::Owner { "owner" } else { "member" }.to_owned(),
            if groups.is_empty() { "-".to_owned() } else { groups.join(", ") },
            key.map_or_else(|| "none".to_owned(), |key| format!("…{}", key.display_suffix)),
            key.map_or_else(|| "-".to_owned(), last_used),
            view.member.id.to_string(),
        ]);
    }
    table
}

pub fn groups(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::Group(group) => Some(format!("group {}: {}\n", group.name, group_members(group))),
        AdminReply::Groups(groups) if groups.is_empty() => {
            Some("no groups yet; make one: wicket group create AGENT GROUP\n".to_owned())
        }
        AdminReply::Groups(groups) => {
            let mut table = Table::new(&["GROUP", "MEMBERS"]);
            for group in groups {
                table.row([group.name.to_string(), group_members(group)]);
            }
            Some(table.render(0, style))
        }
        AdminReply::Gone(what) => Some(format!("{}\n", one_line(what))),
        _ => None,
    }
}

fn group_members(group: &GroupView) -> String {
    if group.members.is_empty() {
        return "nobody yet".to_owned();
    }
    group.members.iter().map(|member| one_line(member)).collect::<Vec<_>>().join(", ")
}

pub fn keys(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::Minted(minted) => Some(minted::render(minted, style)),
        AdminReply::Key(key) => Some(match key.revoked_at {
            Some(_) => format!(
                "key {} of member {} is revoked: its next call answers 401\n",
                key.id,
                one_line(&key.member)
            ),
            None => format!(
                "key {} of member {} works; rate limit: {}\n",
                key.id,
                one_line(&key.member),
                key.rate.map_or_else(|| "its agent's".to_owned(), rate)
            ),
        }),
        AdminReply::Keys(keys) if keys.is_empty() => {
            Some("no keys yet; make one: wicket key create AGENT MEMBER\n".to_owned())
        }
        AdminReply::Keys(keys) => {
            let mut table = Table::new(&["MEMBER", "KEY", "STATE", "RATE", "CREATED", "LAST USED", "ID"]);
            for key in keys {
                let state =
                    key.revoked_at.map_or_else(|| "works".to_owned(), |at| format!("revoked {}", minute(at)));
                table.row([
                    key.member.clone(),
                    format!("…{}", key.display_suffix),
                    state,
                    key.rate.map_or_else(|| "agent's".to_owned(), rate),
                    minute(key.created_at),
                    last_used(key),
                    key.id.to_string(),
                ]);
            }
            Some(table.render(0, style))
        }
        _ => None,
    }
}

pub fn sessions(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::Session(session) => Some(format!(
            "session {} of {} at {} is ended; the next call opens a fresh one\n",
            session.id,
            one_line(&session.member),
            one_line(&session.agent)
        )),
        AdminReply::Sessions(sessions) if sessions.is_empty() => Some("no sessions are open\n".to_owned()),
        AdminReply::Sessions(sessions) => Some(session_table(sessions, style)),
        _ => None,
    }
}

fn session_table(sessions: &[SessionView], style: Style) -> String {
    let now = Some(Timestamp::now());
    let count =
        |session: &SessionView, key: &str| session.counters.get(key).copied().unwrap_or(0).to_string();
    let mut table = Table::new(&[
        "AGENT",
        "MEMBER",
        "CLIENT",
        "CALLS",
        "DENIED",
        "WRITES",
        "DESTRUCTIVE",
        "LAST CALL",
        "ID",
    ]);
    for session in sessions {
        let last = match (&session.terminated_reason, session.terminated_at) {
            (Some(reason), Some(at)) => format!("{}, ended ({reason})", ago(at, now)),
            _ => ago(session.last_activity_at, now),
        };
        table.row([
            session.agent.clone(),
            session.member.clone(),
            session.agent_type.clone().unwrap_or_else(|| "-".to_owned()),
            count(session, "calls"),
            count(session, "denials"),
            count(session, "tier/write"),
            count(session, "tier/destructive"),
            last,
            session.id.to_string(),
        ]);
    }
    let total = counted(sessions.len() as u64, "session", "sessions");
    format!("{}{}\n", table.render(0, style), style.faint(&total))
}

fn services(view: &AgentView) -> String {
    if view.agent.services.is_empty() {
        return "none".to_owned();
    }
    view.agent.services.iter().map(|service| service.as_str()).collect::<Vec<_>>().join(", ")
}

fn rate(limit: RateLimit) -> String {
    format!("{} at once, {} a second", limit.burst, limit.per_second)
}

fn last_used(key: &KeyView) -> String {
    key.last_used_at.map_or_else(|| "never".to_owned(), minute)
}

/// A time to the minute.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..16).map_or_else(|| text.clone(), |short| format!("{}Z", short.replace('T', " ")))
}

const fn agent_status(status: AgentStatus) -> &'static str {
    match status {
        AgentStatus::Active => "active",
        AgentStatus::Disabled => "disabled",
    }
}

const fn trust(trust: TrustMode) -> &'static str {
    match trust {
        TrustMode::Trusted => "trusted",
        TrustMode::Untrusted => "untrusted",
    }
}

const fn member_status(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Pending => "pending",
        MemberStatus::Approved => "approved",
        MemberStatus::Rejected => "rejected",
    }
}
