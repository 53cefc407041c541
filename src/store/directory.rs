//! Everything that the data plane knows of callers, read at one moment; or what of it changed.

use std::collections::HashMap;

use sea_orm::Condition;

use super::policies::stored;
use super::touched::{self, Since, Touched};
use super::{Generation, KeyRow, Store, StoreError, agents, dialect, keys, members, meta};
use crate::model::{Agent, AgentId, Member, MemberId, StoredPolicy};

/// Agents, members and live keys as of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Directory {
    pub generation: Generation,
    /// By name.
    pub agents: Vec<Agent>,
    /// By name, with their groups.
    pub members: Vec<Member>,
    /// Those that are not revoked.
    pub keys: Vec<KeyRow>,
    /// The stored policies of all agents, by their ids.
    pub policies: Vec<StoredPolicy>,
}

/// What is different from an earlier directory; whatever is not named is as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectoryPart {
    /// The generation of the directory that this is the difference from.
    pub since: Generation,
    pub generation: Generation,
    /// `None`: gone, with its members and keys.
    pub agents: HashMap<AgentId, Option<Agent>>,
    /// With all their keys that are not revoked. `None`: gone, with its keys.
    pub members: HashMap<MemberId, Option<(Member, Vec<KeyRow>)>>,
    /// All the stored policies of each agent of which any changed, by their ids.
    pub policies: HashMap<AgentId, Vec<StoredPolicy>>,
}

/// The directory, or what of it is new.
#[derive(Debug, Clone, PartialEq)]
pub enum DirectoryUpdate {
    Whole(Directory),
    Part(DirectoryPart),
}

impl Store {
    /// Reads the directory in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]; the caller keeps the directory that it has.
    pub async fn directory(&self) -> Result<Directory, StoreError> {
        self.timed(async {
            let moment = dialect::begin_read(&self.connection).await?;
            let generation = meta::generation(&moment).await?;
            let directory = whole(&moment, generation).await?;
            moment.commit().await?;
            Ok(directory)
        })
        .await
    }

    /// Reads what changed since this generation, in one transaction; everything, where nobody can say
    /// what changed or it is much.
    ///
    /// # Errors
    /// As [`Store::directory`].
    pub async fn directory_since(&self, since: u64) -> Result<DirectoryUpdate, StoreError> {
        let since = Generation(since);
        self.timed(async {
            let moment = dialect::begin_read(&self.connection).await?;
            let generation = meta::generation(&moment).await?;
            let update = match touched::since(&moment, since, generation).await? {
                Since::These(touched) if since <= generation => {
                    DirectoryUpdate::Part(part(&moment, since, generation, touched).await?)
                }
                _ => DirectoryUpdate::Whole(whole(&moment, generation).await?),
            };
            moment.commit().await?;
            Ok(update)
        })
        .await
    }

    /// The newest generation: cheap, for polling.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn generation(&self) -> Result<Generation, StoreError> {
        self.timed(meta::generation(&self.connection)).await
    }
}

async fn whole(
    moment: &sea_orm::DatabaseTransaction,
    generation: Generation,
) -> Result<Directory, StoreError> {
    Ok(Directory {
        generation,
        agents: agents::all(moment).await?,
        members: members::matching(moment, Condition::all()).await?,
        keys: keys::live(moment).await?,
        policies: stored::all(moment).await?,
    })
}

async fn part(
    moment: &sea_orm::DatabaseTransaction,
    since: Generation,
    generation: Generation,
    touched: impl IntoIterator<Item = Touched>,
) -> Result<DirectoryPart, StoreError> {
    let (agents, members, policies) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut part = DirectoryPart { since, generation, agents, members, policies };
    for one in touched {
        match one {
            Touched::Agent(id) => drop(part.agents.insert(id, None)),
            Touched::Member(id) => drop(part.members.insert(id, None)),
            Touched::Policies(id) => drop(part.policies.insert(id, Vec::new())),
        }
    }
    // What is asked for and not found stays `None`: it is gone.
    if !part.agents.is_empty() {
        for agent in agents::these(moment, part.agents.keys()).await? {
            part.agents.insert(agent.id, Some(agent));
        }
    }
    if !part.members.is_empty() {
        let mut found = keys::live_of_these(moment, part.members.keys()).await?;
        for member in members::these(moment, part.members.keys()).await? {
            let keys = found.remove(&member.id).unwrap_or_default();
            part.members.insert(member.id, Some((member, keys)));
        }
    }
    if !part.policies.is_empty() {
        for policy in stored::of_these(moment, part.policies.keys()).await? {
            part.policies.entry(policy.agent).or_default().push(policy);
        }
    }
    Ok(part)
}
