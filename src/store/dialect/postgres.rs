//! PostgreSQL: one database for several gates.
//!
//! Invariants:
//! - A password is in no error, log line or status: places are shown by [`shown`] alone.
//! - Beyond this machine the server's certificate and name are checked, unless the URL says otherwise.
//! - No session holds a lock for longer than [`STATEMENT_MS_MAX`] without working: a gate that hangs
//!   does not stop the others.
//! - A commit that was answered is on the server's disk: `synchronous_commit` is never `off` here.

use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgSslMode};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Row as _};
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbErr, SqlxPostgresConnector,
    TransactionTrait as _,
};

use crate::store::{Generation, MIGRATION_MS_MAX, Opening, STATEMENT_MS_MAX, StoreError};

/// Connections of the pool; one more listens.
const CONNECTIONS_MAX: u32 = 8;
/// A connection is waited for, or made, within so many milliseconds.
const ACQUIRE_MS_MAX: u64 = 3_000;
/// The oldest release of PostgreSQL that is supported by its makers.
const SERVER_VERSION_MIN: i32 = 140_000;
/// Code of a text that cannot be written in the database's encoding.
pub(super) const UNSTORABLE: &str = "22021";
/// What gates tell each other on.
const CHANNEL: &str = "wicket_generation";
/// Names the lock under which the schema is changed: the letters of the product.
const MIGRATION_LOCK: i64 = 0x5749_434b_4554;
/// Parameters of the URL that are understood.
const PARAMETERS: [&str; 10] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// Whether the URL is one of PostgreSQL's.
pub(super) fn speaks(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

/// Looks whether the database can hold the store, and makes the pool.
pub(super) async fn connect(opening: &Opening) -> Result<DatabaseConnection, StoreError> {
    let options = options(opening)?;
    let place = shown(&options);
    examine(&options, &place).await?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool(options, CONNECTIONS_MAX)))
}

/// A pool that connects when it is asked.
fn pool(options: PgConnectOptions, connections_max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_millis(ACQUIRE_MS_MAX))
        // The server may have been restarted since.
        .test_before_acquire(true)
        .after_connect(|connection, _| Box::pin(settle(connection)))
        .connect_lazy_with(options)
}

/// What to do about a server that is not reached.
fn unreached(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(fault) => advice(fault.code().as_deref().unwrap_or_default()),
        // rustls' word about a certificate may come as a fault of the stream.
        error if matches!(error, sqlx::Error::Tls(_)) || error.to_string().contains("certificate") => {
            "look at the server's certificate; `sslrootcert=<file>` names the authority that signed it, \
             `sslmode=disable` speaks plaintext"
        }
        _ => "look whether the server runs and listens there, and correct `[store] url`",
    }
}

/// The options that a URL stands for, with the password that stands elsewhere.
fn options(opening: &Opening) -> Result<PgConnectOptions, StoreError> {
    let url = opening.url.as_str();
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let names = parameters.split('&').filter(|pair| !pair.is_empty());
    let names: Vec<&str> = names.map(|pair| pair.split('=').next().unwrap_or_default()).collect();
    if let Some(unknown) = names.iter().find(|name| !PARAMETERS.contains(name)) {
        return Err(StoreError::cannot_open(format!(
            "the parameter `{}` of the database's URL is not known; these are: {}",
            unknown.escape_debug(),
            PARAMETERS.join(", ")
        )));
    }
    let mut options: PgConnectOptions = url.parse().map_err(|error| {
        StoreError::cannot_open(format!(
            "the database's URL cannot be read: {error}; use `postgres://<user>@<host>/<database>`"
        ))
    })?;
    if let Some(password) = &opening.password {
        options = options.password(password.as_str());
    }
    if !names.contains(&"sslmode") && !is_here(&options) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if matches!(options.get_ssl_mode(), PgSslMode::Allow) {
        return Err(StoreError::cannot_open(
            "`sslmode=allow` would never speak TLS; say `verify-full`, or `disable` to speak plaintext",
        ));
    }
    if !names.contains(&"application_name") {
        options = options.application_name("wicket");
    }
    Ok(options.disable_statement_logging())
}

/// Whether the server is reached without leaving this machine.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
}

/// Where the database is, for people: without password and parameters.
fn shown(options: &PgConnectOptions) -> String {
    let socket = options.get_socket().map(|path| path.display().to_string());
    format!(
        "postgres://{}@{}:{}/{}",
        options.get_username(),
        socket.as_deref().unwrap_or(options.get_host()),
        options.get_port(),
        options.get_database().unwrap_or_default()
    )
}

/// What each session is told first.
async fn settle(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    let bound = STATEMENT_MS_MAX.to_string();
    sqlx::query(
        "SELECT set_config('statement_timeout', $1, false), \
         set_config('idle_in_transaction_session_timeout', $1, false), \
         set_config('client_min_messages', 'warning', false), \
         set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
           WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
    )
    .bind(bound)
    .execute(session)
    .await?;
    Ok(())
}

/// Refuses a server that cannot be reached, or cannot keep what it is given. Asked over a connection of
/// its own: a pool would say only that none was free.
async fn examine(options: &PgConnectOptions, place: &str) -> Result<(), StoreError> {
    let fault = |message: String| StoreError::cannot_open(format!("`{place}`: {message}"));
    let asked = tokio::time::timeout(Duration::from_millis(STATEMENT_MS_MAX), ask(options)).await;
    let (version, encoding, durable) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(fault(format!("{error}; {}", unreached(&error)))),
        Err(_) => {
            return Err(fault(format!(
                "no answer within {STATEMENT_MS_MAX} ms; look whether the server runs and listens there"
            )));
        }
    };
    if version < SERVER_VERSION_MIN {
        let (has, needs) = (version / 10_000, SERVER_VERSION_MIN / 10_000);
        return Err(fault(format!("the server is PostgreSQL {has}; {needs} or newer is needed")));
    }
    if encoding != "UTF8" {
        return Err(fault(format!(
            "the database's encoding is {encoding}; create one with `createdb --encoding UTF8 --template template0`"
        )));
    }
    if !durable {
        tracing::warn!(
            database = place,
            "the server runs with fsync or full_page_writes off: acknowledged changes may be lost when its \
             machine goes down"
        );
    }
    Ok(())
}

/// The server's version, the database's encoding, and whether the server writes what it acknowledges.
async fn ask(options: &PgConnectOptions) -> Result<(i32, String, bool), sqlx::Error> {
    let mut session = options.connect().await?;
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), \
         current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'",
    )
    .fetch_one(&mut session)
    .await?;
    session.close().await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

/// Waits for another gate that migrates.
pub(super) async fn begin_migration(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let transaction = connection.begin().await?;
    for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
        transaction.execute_unprepared(&format!("SET LOCAL {setting} = {MIGRATION_MS_MAX}")).await?;
    }
    transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    Ok(transaction)
}

/// A definition in which text sorts by code points, as it does in SQLite, whatever the database's
/// own order is. Names are quoted, so that `" text` is always a column's type.
pub(super) fn with_order(sql: &str) -> String {
    sql.replace("\" text", "\" text COLLATE \"C\"")
}

/// Statement that tells of a generation when its transaction commits.
pub(super) fn announcement(generation: Generation) -> String {
    format!("SELECT pg_notify('{CHANNEL}', '{generation}')")
}

/// What to do about an error of this code (appendix A of PostgreSQL's manual).
pub(super) fn advice(code: &str) -> &'static str {
    match code {
        "28P01" | "28000" => {
            "name the user in `[store] url`, and its password in WICKET_STORE_PASSWORD or `[store] password_file`"
        }
        "3D000" => "create the database, as with `createdb`, or correct `[store] url`",
        "42501" => "the user may not do this; make it the owner of the database",
        "25006" => "the server is a standby or read-only; name the one that takes writes",
        "53100" => "the server's disk is full; free space there",
        "53300" => "the server has no connection left; raise `max_connections` there, each gate takes nine",
        "57014" => "the server was too slow, or another transaction held its lock; try again",
        "40001" | "40P01" => "it met another change; nothing was changed, try again",
        "57P01" | "57P02" | "57P03" | "08006" => {
            "the server is stopping or starting; look whether the change was made before repeating it"
        }
        _ => "look at the server's log; the change was not made",
    }
}

/// A session that hears of other gates' changes.
pub struct Listener {
    listener: PgListener,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

/// Opens the session that listens, beside the pool: it must not be taken for other work.
pub(super) async fn listen(connection: &DatabaseConnection) -> Result<Listener, StoreError> {
    let fault = |error: sqlx::Error| StoreError::Unavailable {
        message: format!("changes of other gates are not heard of at once: {error}"),
    };
    let options = connection.get_postgres_connection_pool().connect_options();
    let pool = pool((*options).clone(), 1);
    let mut listener = PgListener::connect_with(&pool).await.map_err(fault)?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await.map_err(fault)?;
    Ok(Listener { listener })
}

impl Listener {
    /// Waits until somebody changes something; the newest generation that is known then.
    ///
    /// # Errors
    /// The session broke; what was said meanwhile is lost. Listen anew, and ask once.
    pub async fn heard(&mut self) -> Result<Generation, StoreError> {
        let lost = |reason: String| StoreError::Unavailable {
            message: format!("the session that hears of other gates' changes broke: {reason}"),
        };
        let told = self.listener.try_recv().await.map_err(|error| lost(error.to_string()))?;
        let mut told = told.ok_or_else(|| lost("the server closed it".to_owned()))?;
        // Of several only the last matters.
        while let Some(next) = self.listener.next_buffered() {
            told = next;
        }
        Ok(Generation(told.payload().parse().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(url: &str) -> Opening {
        Opening { url: url.to_owned(), ..Opening::default() }
    }

    #[test]
    fn tls_is_verified_beyond_this_machine_unless_the_url_says_otherwise() {
        let mode = |url: &str| options(&opening(url)).map(|options| format!("{:?}", options.get_ssl_mode()));
        for (url, expected) in [
            ("postgres://me@db.example/wicket", "VerifyFull"),
            ("postgresql://me@10.0.0.1:5433/wicket", "VerifyFull"),
            ("postgres://me@db.example/wicket?sslmode=require", "Require"),
            ("postgres://me@db.example/wicket?sslmode=disable", "Disable"),
            ("postgres://me@127.0.0.1/wicket", "Prefer"),
            ("postgres://me@[::1]/wicket", "Prefer"),
            ("postgres://me@localhost/wicket", "Prefer"),
            ("postgres://me@%2Frun%2Fpostgresql/wicket", "Prefer"),
            ("postgres:///wicket?host=/run/postgresql", "Prefer"),
        ] {
            assert_eq!(mode(url).unwrap(), expected, "{url}");
        }
        for url in ["postgres://me@db/wicket?sslmode=allow", "postgres://me@db/wicket?sslmode=maybe"] {
            assert!(mode(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in ["postgres://me:secret@db:5433/wicket", "postgres://me@db:5433/wicket?password=secret"] {
            let options = options(&opening(url)).unwrap();
            assert_eq!(shown(&options), "postgres://me@db:5433/wicket");
        }
        for url in [
            "postgres://me:secret@db:port/wicket",
            "postgres://me:secret@db/wicket?passwort=secret",
            "postgres://me:secret@db/wicket?sslmode=x",
            "postgres://me:secret@[db/wicket",
        ] {
            let error = options(&opening(url)).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let opening = opening("postgres://me:secret@db:5433/wicket");
        assert!(!format!("{opening:?}").contains("secret"));
    }

    #[test]
    fn text_is_defined_to_sort_by_code_points() {
        assert_eq!(
            with_order(r#"CREATE TABLE "text" ( "a" text NOT NULL, "text" bigint )"#),
            r#"CREATE TABLE "text" ( "a" text COLLATE "C" NOT NULL, "text" bigint )"#
        );
    }
}
