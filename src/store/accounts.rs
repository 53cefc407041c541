//! The accounts' rows, and which agents they own.
//!
//! Invariant: an account that is shut out has no session, token or link that opens, from the same
//! transaction on.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, DatabaseTransaction, QueryOrder as _, QuerySelect as _, Set};

use super::column::{id_text, parse, parse_id, parse_word, word};
use super::touched::Touched;
use super::{Generation, Store, StoreError, agents, dialect, members, sign_in_links, tokens, web_sessions};
use crate::model::{
    Account, AccountId, AccountStatus, AgentId, EmailAddress, Member, MemberId, Role, Timestamp,
};

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "account")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub email: String,
        pub status: String,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The accounts' rows. The data plane knows no accounts: their changes raise no generation.
#[derive(Debug, Clone, Copy)]
pub struct Accounts<'a>(pub(super) &'a Store);

impl Accounts<'_> {
    /// Stores a new account; `Conflict` where the address has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, account: &Account) -> Result<(), StoreError> {
        let row = row::ActiveModel {
            id: Set(id_text(account.id.as_uuid())),
            email: Set(account.email.as_str().to_owned()),
            status: Set(word("account.status", account.status)?),
            created_at: Set(account.created_at.as_millis()),
        };
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                row::Entity::insert(row).exec_without_returning(&transaction).await.map_err(|error| {
                    StoreError::taken(error, "account", &account.email, ("account", &account.id))
                })?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// The account, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: AccountId) -> Result<Account, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        account_of(found.ok_or_else(|| StoreError::not_found("account", id))?)
    }

    /// The account of this address, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_by_email(&self, email: &EmailAddress) -> Result<Account, StoreError> {
        let find = row::Entity::find().filter(row::Column::Email.eq(email.as_str()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        account_of(found.ok_or_else(|| StoreError::not_found("account", email))?)
    }

    /// All accounts, by address.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<Account>, StoreError> {
        let find = row::Entity::find().order_by_asc(row::Column::Email);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(account_of).collect()
    }

    /// Lets the account in again. What it signed in with before stays ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn enable(&self, id: AccountId) -> Result<(), StoreError> {
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                set_status(&transaction, id, AccountStatus::Active).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// Shuts the account out and ends its sessions, tokens and links: how many sessions and tokens.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn disable(&self, id: AccountId, now: Timestamp) -> Result<(u64, u64), StoreError> {
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                let account = held(&transaction, id).await?;
                set_status(&transaction, id, AccountStatus::Disabled).await?;
                let sessions = web_sessions::end_all(&transaction, id, now).await?;
                let tokens = tokens::revoke_all(&transaction, id, now).await?;
                sign_in_links::void(&transaction, &account.email, now).await?;
                transaction.commit().await?;
                Ok((sessions, tokens))
            })
            .await
    }

    /// Names of the agents that the account owns, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn owned(&self, id: AccountId) -> Result<Vec<String>, StoreError> {
        let find = agents::row::Entity::find()
            .select_only()
            .column(agents::row::Column::Name)
            .filter(agents::row::Column::OwnerId.eq(id_text(id.as_uuid())))
            .order_by_asc(agents::row::Column::Name)
            .into_tuple();
        self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await
    }

    /// Makes the account the agent's owner, with a membership of that role: one that it has, one without
    /// an account of the same name, or else this one. Whoever owned it before stays a member.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn adopt(
        &self,
        agent: AgentId,
        account: &Account,
        fresh: &Member,
    ) -> Result<Generation, StoreError> {
        let (agent_id, owner) = (id_text(agent.as_uuid()), id_text(account.id.as_uuid()));
        let (role, approved) = (word("member.role", Role::Owner)?, word("member.status", fresh.status)?);
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let connection = &change.transaction;
                let updated = agents::row::Entity::update_many()
                    .col_expr(agents::row::Column::OwnerId, Expr::value(owner.clone()))
                    .filter(agents::row::Column::Id.eq(&agent_id))
                    .exec(connection)
                    .await?;
                if updated.rows_affected == 0 {
                    return Err(StoreError::not_found("agent", agent));
                }
                let mut touched = vec![Touched::Agent(agent)];
                touched.extend(demote(connection, &agent_id, &owner).await?);
                let found = own_row(connection, &agent_id, &owner, &fresh.name).await?;
                match found {
                    Some(id) => {
                        touched.push(Touched::Member(MemberId::from_uuid(parse_id("member.id", &id)?)));
                        members::row::Entity::update_many()
                            .col_expr(members::row::Column::AccountId, Expr::value(owner.clone()))
                            .col_expr(members::row::Column::Role, Expr::value(role))
                            .col_expr(members::row::Column::Status, Expr::value(approved))
                            .filter(members::row::Column::Id.eq(id))
                            .exec(connection)
                            .await?;
                    }
                    None => {
                        touched.push(Touched::Member(fresh.id));
                        members::put(connection, fresh).await?;
                    }
                }
                change.commit_touching(&touched).await
            })
            .await
    }
}

/// Whoever else is an owner by an account's membership becomes a member: whose memberships those were.
async fn demote(
    connection: &DatabaseTransaction,
    agent: &str,
    owner: &str,
) -> Result<Vec<Touched>, StoreError> {
    use members::row::{Column, Entity};
    let others = Condition::all()
        .add(Column::AgentId.eq(agent))
        .add(Column::AccountId.is_not_null())
        .add(Column::AccountId.ne(owner))
        .add(Column::Role.eq(word("member.role", Role::Owner)?));
    let found = Entity::find().filter(others.clone()).all(connection).await?;
    Entity::update_many()
        .col_expr(Column::Role, Expr::value(word("member.role", Role::Member)?))
        .filter(others)
        .exec(connection)
        .await?;
    let member = |row: members::row::Model| parse_id("member.id", &row.id).map(MemberId::from_uuid);
    found.into_iter().map(|row| member(row).map(Touched::Member)).collect()
}

/// The id of the membership that an owner takes: its own, or one of its name that is nobody's.
async fn own_row(
    connection: &DatabaseTransaction,
    agent: &str,
    owner: &str,
    name: &str,
) -> Result<Option<String>, StoreError> {
    use members::row::{Column, Entity};
    let of_agent = Entity::find().filter(Column::AgentId.eq(agent));
    let own = of_agent.clone().filter(Column::AccountId.eq(owner)).one(connection).await?;
    let named = of_agent.filter(Column::AccountId.is_null()).filter(Column::Name.eq(name));
    Ok(match own {
        Some(row) => Some(row.id),
        None => named.one(connection).await?.map(|row| row.id),
    })
}

async fn set_status(
    transaction: &DatabaseTransaction,
    id: AccountId,
    status: AccountStatus,
) -> Result<(), StoreError> {
    let updated = row::Entity::update_many()
        .col_expr(row::Column::Status, Expr::value(word("account.status", status)?))
        .filter(row::Column::Id.eq(id_text(id.as_uuid())))
        .exec(transaction)
        .await?;
    if updated.rows_affected == 0 {
        return Err(StoreError::not_found("account", id));
    }
    Ok(())
}

/// The account's row, held until the transaction ends (SQLite: the whole database is).
async fn held(transaction: &DatabaseTransaction, id: AccountId) -> Result<row::Model, StoreError> {
    let find = row::Entity::find_by_id(id_text(id.as_uuid())).lock_exclusive();
    find.one(transaction).await?.ok_or_else(|| StoreError::not_found("account", id))
}

/// The same of an account that is let in; `Conflict` where it is not.
pub(super) async fn held_active(transaction: &DatabaseTransaction, id: AccountId) -> Result<(), StoreError> {
    let account = account_of(held(transaction, id).await?)?;
    if account.status == AccountStatus::Active {
        return Ok(());
    }
    let message = format!("the account `{}` is disabled; enable it first", account.email);
    Err(StoreError::conflict("account", message))
}

/// Holds the row of the account of this address, where there is one.
pub(super) async fn held_by_email(
    transaction: &DatabaseTransaction,
    email: &EmailAddress,
) -> Result<(), StoreError> {
    let find = row::Entity::find().filter(row::Column::Email.eq(email.as_str())).lock_exclusive();
    Ok(find.one(transaction).await.map(drop)?)
}

pub(super) fn account_of(row: row::Model) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId::from_uuid(parse_id("account.id", &row.id)?),
        email: parse("account.email", &row.email)?,
        status: parse_word("account.status", &row.status)?,
        created_at: Timestamp::from_millis(row.created_at),
    })
}
