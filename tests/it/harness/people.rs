//! People of one agent, as the REST API makes them: an owner, members, somebody who waits, a stranger.

use serde_json::{Value, json};

use super::{Api, Client, Gate};

/// An agent with its people.
pub struct People {
    pub agent: String,
    pub owner: Api,
    /// Approved.
    pub member: Api,
    pub member_id: String,
    pub pending: Api,
    pub pending_id: String,
    pub stranger: Api,
    pub nobody: Api,
}

impl People {
    /// Makes them all, with these connectors enabled.
    pub async fn of(gate: &Gate, services: &[&str]) -> Self {
        Self::named(gate, "people", services, "trusted").await
    }

    /// The same, for an agent of this name.
    pub async fn named(gate: &Gate, name: &str, services: &[&str], kind: &str) -> Self {
        let owner = gate.account("olga@example.com").await;
        let body = json!({ "name": name, "allowedServices": services, "type": kind });
        let agent = owner.post("/api/agents", body).await.expect(201)["id"].as_str().unwrap().to_owned();
        let member = gate.account("mona@example.com").await;
        let pending = gate.account("paul@example.com").await;
        let member_id = join(&agent, &owner, &member, "mona@example.com").await;
        let pending_id = join(&agent, &owner, &pending, "paul@example.com").await;
        let status = format!("/api/agents/{agent}/members/{member_id}/status");
        owner.put(&status, json!({ "status": "approved" })).await.expect(200);
        let stranger = gate.account("stan@example.com").await;
        Self { agent, owner, member, member_id, pending, pending_id, stranger, nobody: gate.nobody() }
    }

    /// The same agent without the policies that came with its connectors: the files decide alone.
    pub async fn bare(self) -> Self {
        let list = self.owner.get(&self.path("/policies?limit=500")).await.expect(200);
        for id in each(&list["policies"], "id") {
            self.owner.delete(&self.path(&format!("/policies/{id}"))).await.expect(204);
        }
        self
    }

    /// A path under the agent.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/agents/{}{rest}", self.agent)
    }

    /// A path under the approved member.
    pub fn member_path(&self, rest: &str) -> String {
        self.path(&format!("/members/{}{rest}", self.member_id))
    }

    /// A fresh key of the approved member, and an MCP client with it.
    pub async fn client(&self, gate: &Gate) -> Client {
        let minted = self.member.put(&self.member_path("/key"), json!({})).await.expect(200);
        Client::new(gate.agents(), minted["key"].as_str().unwrap())
    }

    /// The owner's own membership.
    pub async fn owner_id(&self) -> String {
        let agent = self.owner.get(&self.path("")).await.expect(200);
        agent["membership"]["id"].as_str().unwrap().to_owned()
    }
}

/// Invites this address and joins by the link: the membership's id.
pub async fn join(agent: &str, owner: &Api, person: &Api, email: &str) -> String {
    let token = invite(agent, owner, email).await;
    let joined =
        person.post(&format!("/api/agents/{agent}/join"), json!({ "token": token })).await.expect(201);
    joined["membership"]["id"].as_str().unwrap().to_owned()
}

/// The token of an invite of this address.
pub async fn invite(agent: &str, owner: &Api, email: &str) -> String {
    let made =
        owner.post(&format!("/api/agents/{agent}/invite"), json!({ "email": email })).await.expect(201);
    made["token"].as_str().unwrap().to_owned()
}

/// The values of one field of a list.
pub fn each(list: &Value, field: &str) -> Vec<String> {
    let text = |item: &Value| item[field].as_str().unwrap_or_default().to_owned();
    list.as_array().unwrap().iter().map(text).collect()
}
