//! Commands about agents, members, groups, keys and sessions: asked, and shown as tables.

pub(super) mod show;

use std::collections::BTreeSet;

use super::arguments::accounts::{AgentCommand, GroupCommand, KeyCommand, MemberCommand, SessionCommand};
use super::ending::{Fault, Page};
use super::output::Style;
use super::reach;
use super::settings::Settings;
use crate::control::request::ServicesChange;
use crate::control::{AdminReply, AdminRequest};
use crate::model::{AgentStatus, KeyId, MemberStatus, NameError, RateLimit, Role};

/// Asks and prints: JSON where it was wanted, else what `show` makes of the reply.
pub(super) async fn answer(
    settings: &Settings,
    request: AdminRequest,
    show: impl FnOnce(&AdminReply, Style) -> Option<String>,
) -> Result<Page, Fault> {
    let reply = reach::ask(settings, request).await?;
    if settings.json {
        return Ok(Page::fine(json_of(&reply)?));
    }
    show(&reply, settings.style).map(Page::fine).ok_or_else(reach::unexpected)
}

/// The value of a reply as JSON, with a line end.
pub fn json_of(reply: &AdminReply) -> Result<String, Fault> {
    let unwritable =
        |error: serde_json::Error| Fault::problem(format!("the reply cannot be written: {error}"));
    let mut value = serde_json::to_value(reply).map_err(unwritable)?;
    let inner = value.get_mut("value").map(serde_json::Value::take).unwrap_or_default();
    let mut text = serde_json::to_string_pretty(&inner).map_err(unwritable)?;
    text.push('\n');
    Ok(text)
}

/// `wicket agent …`
pub async fn agent(settings: &Settings, command: AgentCommand) -> Result<Page, Fault> {
    use AgentCommand as C;
    let request = match command {
        C::Create { name, trust, services, owner } => {
            let services = services.into_iter().collect();
            let agent = name.clone();
            let create = AdminRequest::AgentCreate { name, trust: trust.into(), services, rate: None };
            match owner {
                None => create,
                Some(email) => {
                    // Asked for beforehand, so that no agent is made for an owner that there is not.
                    reach::ask(settings, AdminRequest::AccountShow { email: email.clone() }).await?;
                    reach::ask(settings, create).await?;
                    AdminRequest::AccountAdopt { agent, email, replace: false }
                }
            }
        }
        C::List => AdminRequest::AgentList {},
        C::Show { agent } => AdminRequest::AgentShow { agent },
        C::Enable { agent } => AdminRequest::AgentStatus { agent, status: AgentStatus::Active },
        C::Disable { agent } => AdminRequest::AgentStatus { agent, status: AgentStatus::Disabled },
        C::Services { agent, add, remove, set } => return services(settings, agent, add, remove, set).await,
        C::Rate { agent, burst, per_second, default: _ } => {
            let rate = burst.zip(per_second).map(|(burst, per_second)| RateLimit { burst, per_second });
            AdminRequest::AgentRate { agent, rate }
        }
        C::Delete { agent, yes: false } => {
            return Err(Fault::usage(format!(
                "deleting agent `{}` takes its members, groups and keys with it and cannot be undone",
                super::output::one_line(&agent)
            ))
            .with_help("say it again with --yes; to stop it for a while use `wicket agent disable`"));
        }
        C::Delete { agent, yes: true } => AdminRequest::AgentDelete { agent },
    };
    answer(settings, request, show::agents).await
}

async fn services(
    settings: &Settings,
    agent: String,
    add: Vec<crate::model::ServiceKey>,
    remove: Vec<crate::model::ServiceKey>,
    set: Vec<crate::model::ServiceKey>,
) -> Result<Page, Fault> {
    let of = |list: Vec<_>| list.into_iter().collect::<BTreeSet<_>>();
    let (add, remove, set) = (of(add), of(remove), of(set));
    if let Some(both) = add.intersection(&remove).next() {
        return Err(Fault::usage(format!("`{both}` is both added and removed")));
    }
    let services = match (add.is_empty(), remove.is_empty(), set.is_empty()) {
        (_, _, false) => ServicesChange::Set(set),
        (false, false, true) => ServicesChange::Edit { add, remove },
        (false, true, true) => ServicesChange::Add(add),
        (true, false, true) => ServicesChange::Remove(remove),
        (true, true, true) => {
            return answer(settings, AdminRequest::AgentShow { agent }, show::agents).await;
        }
    };
    answer(settings, AdminRequest::AgentServices { agent, services }, show::agents).await
}

/// `wicket member …`
pub async fn member(settings: &Settings, command: MemberCommand) -> Result<Page, Fault> {
    use MemberCommand as C;
    let request = match command {
        C::Add { agent, member, pending, owner } => AdminRequest::MemberAdd {
            agent,
            name: member,
            role: if owner { Role::Owner } else { Role::Member },
            status: if pending { MemberStatus::Pending } else { MemberStatus::Approved },
        },
        C::List { agent } => AdminRequest::MemberList { agent },
        C::Approve { agent, member } => {
            AdminRequest::MemberStatus { agent, member, status: MemberStatus::Approved }
        }
        C::Reject { agent, member } => {
            AdminRequest::MemberStatus { agent, member, status: MemberStatus::Rejected }
        }
        C::Remove { agent, member } => AdminRequest::MemberRemove { agent, member },
    };
    answer(settings, request, show::members).await
}

/// `wicket group …`
pub async fn group(settings: &Settings, command: GroupCommand) -> Result<Page, Fault> {
    use GroupCommand as C;
    let request = match command {
        C::Create { agent, group } => AdminRequest::GroupCreate { agent, group },
        C::List { agent } => AdminRequest::GroupList { agent },
        C::Add { agent, group, member } => AdminRequest::GroupAdd { agent, group, member },
        C::Remove { agent, group, member } => AdminRequest::GroupRemove { agent, group, member },
        C::Delete { agent, group } => AdminRequest::GroupDelete { agent, group },
    };
    answer(settings, request, show::groups).await
}

/// `wicket key …`
pub async fn key(settings: &Settings, command: KeyCommand) -> Result<Page, Fault> {
    use KeyCommand as C;
    let request = match command {
        C::Create { agent, member } => AdminRequest::KeyCreate { agent, member },
        C::Rotate { agent, member } => AdminRequest::KeyRotate { agent, member },
        C::Revoke { key } => AdminRequest::KeyRevoke { key },
        C::Rate { whose, burst: None, per_second: None, default: false } => {
            AdminRequest::KeyShow { key: key_of(settings, &whose).await? }
        }
        C::Rate { whose, burst, per_second, default: _ } => {
            let key = key_of(settings, &whose).await?;
            let rate = burst.zip(per_second).map(|(burst, per_second)| RateLimit { burst, per_second });
            AdminRequest::KeyRate { key, rate }
        }
        C::List { agent, member } => AdminRequest::KeyList { agent, member },
    };
    answer(settings, request, show::keys).await
}

/// The key that is meant by its id, or as the one of a member of an agent that works.
async fn key_of(settings: &Settings, whose: &[String]) -> Result<KeyId, Fault> {
    let (agent, member) = match whose {
        [agent, member] => (agent.clone(), member.clone()),
        [key] => {
            return key.parse().map_err(|fault: NameError| {
                Fault::usage(fault.to_string())
                    .with_help("name an agent and a member, or a key's id from `wicket key list`")
            });
        }
        _ => return Err(Fault::usage("an agent and a member are needed, or a key's id")),
    };
    let none = format!(
        "member `{}` of agent `{}` has no key that works",
        super::output::one_line(&member),
        super::output::one_line(&agent)
    );
    let request = AdminRequest::KeyList { agent: agent.clone(), member: Some(member.clone()) };
    let AdminReply::Keys(keys) = reach::ask(settings, request).await? else {
        return Err(reach::unexpected());
    };
    let key = keys.iter().find(|key| key.revoked_at.is_none());
    key.map(|key| key.id).ok_or_else(|| {
        Fault::problem(none).with_help(format!("`wicket key create '{agent}' '{member}'` makes one"))
    })
}

/// `wicket session …`
pub async fn session(settings: &Settings, command: SessionCommand) -> Result<Page, Fault> {
    let request = match command {
        SessionCommand::List { agent, member, ended } => AdminRequest::SessionList { agent, member, ended },
        SessionCommand::Reset { session } => AdminRequest::SessionReset { session },
    };
    answer(settings, request, show::sessions).await
}
