//! The `redis` crate's everyday calls, blocking and asynchronous.

use std::collections::{BTreeSet, HashMap};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands, Client, Commands, Connection, ConnectionAddr, ConnectionInfo, ErrorKind, ExistenceCheck,
    Expiry, FromRedisValue, IntoConnectionInfo, ProtocolVersion, RedisError, RedisResult, ServerErrorKind,
    SetExpiry, SetOptions, Value, cmd, pipe,
};

use crate::support::Server;

pub fn blocking(server: &Server) {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut connection = connect(server, protocol);
        strings(&mut connection).expect("strings");
        keys(&mut connection).expect("keys");
        pipelines(&mut connection).expect("pipelines");
        errors(&mut connection);
        about_the_server(&mut connection, server).expect("server commands");
    }
    over_the_unix_socket(server).expect("unix socket");
    from_many_threads(server);
    resp3_types(server).expect("RESP3 types");
}

fn client(server: &Server, protocol: ProtocolVersion) -> Client {
    let info: ConnectionInfo =
        format!("redis://{}/", server.address()).into_connection_info().expect("a valid URL");
    let redis = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.set_redis_settings(redis)).expect("a client needs no server yet")
}

fn connect(server: &Server, protocol: ProtocolVersion) -> Connection {
    let mut connection = client(server, protocol).get_connection().expect("the server is ready");
    let _: () = cmd("FLUSHALL").query(&mut connection).expect("FLUSHALL");
    connection
}

fn strings(c: &mut Connection) -> RedisResult<()> {
    let _: () = c.set("k", "v")?;
    assert_eq!(c.get::<_, String>("k")?, "v");
    assert_eq!(c.get::<_, Option<String>>("absent")?, None);
    let only_new = SetOptions::default().conditional_set(ExistenceCheck::NX);
    assert_eq!(c.set_options::<_, _, Option<String>>("k", "w", only_new)?, None);
    let with_expiry = SetOptions::default().get(true).with_expiration(SetExpiry::EX(100));
    assert_eq!(c.set_options::<_, _, String>("k", "x", with_expiry)?, "v");
    assert!((99..=100).contains(&c.ttl::<_, i64>("k")?));
    assert_eq!(c.get_ex::<_, String>("k", Expiry::PERSIST)?, "x");
    assert_eq!(c.ttl::<_, i64>("k")?, -1);
    assert_eq!(c.get_del::<_, String>("k")?, "x");

    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let _: () = c.set(b"\0\r\n\xff", &bytes)?;
    assert_eq!(c.get::<_, Vec<u8>>(b"\0\r\n\xff")?, bytes);

    assert_eq!(c.incr::<_, _, i64>("n", 41)?, 41);
    assert_eq!(c.incr::<_, _, f64>("n", 0.5)?, 41.5);
    assert_eq!(c.append::<_, _, usize>("s", "Hello World")?, 11);
    assert_eq!(c.getrange::<_, String>("s", 6, -1)?, "World");
    assert_eq!(c.setrange::<_, _, usize>("s", 6, "Redis")?, 11);
    assert_eq!(c.strlen::<_, usize>("s")?, 11);
    let _: () = c.mset(&[("a", 1), ("b", 2)])?;
    assert_eq!(c.mget::<_, Vec<Option<i32>>>(&["a", "absent", "b"])?, [Some(1), None, Some(2)]);
    assert!(!c.mset_nx::<_, _, bool>(&[("b", 3), ("c", 3)])?);
    Ok(())
}

fn keys(c: &mut Connection) -> RedisResult<()> {
    let _: () = cmd("FLUSHDB").query(c)?;
    for number in 0..300 {
        let _: () = c.set(format!("item:{number}"), number)?;
    }
    let scanned: BTreeSet<String> = c.scan_match("item:*")?.collect::<RedisResult<_>>()?;
    assert_eq!(scanned.len(), 300);
    assert_eq!(c.keys::<_, Vec<String>>("item:1?")?.len(), 10);
    assert_eq!(c.del::<_, i64>(&["item:0", "item:1", "absent"])?, 2);
    assert_eq!(c.unlink::<_, i64>("item:2")?, 1);
    assert!(!c.exists::<_, bool>("item:0")?);
    let _: () = c.rename("item:3", "moved")?;
    assert!(c.expire::<_, bool>("moved", 100)?);
    assert!(c.pexpire_at::<_, bool>("moved", 4_000_000_000_000)?);
    assert_eq!(c.expire_time::<_, i64>("moved")?, 4_000_000_000);
    assert!(c.persist::<_, bool>("moved")?);
    assert!(cmd("COPY").arg("moved").arg("copied").query::<bool>(c)?);
    assert_eq!(c.object_encoding::<_, String>("copied")?, "int");
    assert_eq!(cmd("DBSIZE").query::<i64>(c)?, 298);
    Ok(())
}

fn pipelines(c: &mut Connection) -> RedisResult<()> {
    let (old, number): (String, i64) =
        pipe().set("p", "v").ignore().get("p").del("number").ignore().incr("number", 7).query(c)?;
    assert_eq!((old.as_str(), number), ("v", 7));

    let mut deep = pipe();
    for number in 0..1000 {
        deep.cmd("SET").arg(format!("deep:{number}")).arg(number).ignore();
        deep.cmd("GET").arg(format!("deep:{number}"));
    }
    assert_eq!(deep.query::<Vec<i64>>(c)?, (0..1000).collect::<Vec<_>>());
    Ok(())
}

fn errors(c: &mut Connection) {
    let _: () = c.set("s", "text").expect("SET");
    let error: RedisError = c.incr::<_, _, i64>("s", 1).expect_err("not a number");
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
    assert_eq!(error.detail(), Some("value is not an integer or out of range"));
    let error: RedisError = cmd("NOSUCH").query::<()>(c).expect_err("no such command");
    assert!(error.to_string().contains("unknown command 'NOSUCH'"), "{error}");
    assert_eq!(c.get::<_, String>("s").expect("the connection goes on"), "text");
}

fn about_the_server(c: &mut Connection, server: &Server) -> RedisResult<()> {
    let info: redis::InfoDict = cmd("INFO").query(c)?;
    assert_eq!(info.get::<u16>("tcp_port"), Some(server.port()));
    assert_eq!(info.get::<u32>("process_id"), Some(server.pid()));
    let config: HashMap<String, String> = cmd("CONFIG").arg("GET").arg("maxmemory*").query(c)?;
    assert_eq!(config["maxmemory-policy"], "noeviction");
    let _: () = c.client_setname("named")?;
    assert_eq!(c.client_getname::<Option<String>>()?.as_deref(), Some("named"));
    let id: u64 = c.client_id()?;
    let list: String = cmd("CLIENT").arg("LIST").arg("ID").arg(id).query(c)?;
    assert!(list.starts_with(&format!("id={id} ")), "{list}");
    let time: (u64, u64) = cmd("TIME").query(c)?;
    assert!(time.0 > 1_600_000_000 && time.1 < 1_000_000);
    Ok(())
}

fn over_the_unix_socket(server: &Server) -> RedisResult<()> {
    let info = ConnectionAddr::Unix(server.unix_socket()).into_connection_info()?;
    let mut connection = Client::open(info)?.get_connection()?;
    assert_eq!(cmd("PING").query::<String>(&mut connection)?, "PONG");
    Ok(())
}

fn from_many_threads(server: &Server) {
    let client = client(server, ProtocolVersion::RESP2);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = client.get_connection().expect("the server takes connections");
                for _ in 0..100 {
                    let _: () = connection.incr("total", 1).expect("INCR");
                }
            });
        }
    });
    let mut connection = client.get_connection().expect("the server takes connections");
    assert_eq!(connection.get::<_, i64>("total").expect("GET"), 800);
}

fn resp3_types(server: &Server) -> RedisResult<()> {
    let mut c = connect(server, ProtocolVersion::RESP3);
    assert_eq!(cmd("GET").arg("absent").query::<Value>(&mut c)?, Value::Nil);
    assert!(matches!(cmd("CONFIG").arg("GET").arg("port").query::<Value>(&mut c)?, Value::Map(_)));
    assert!(matches!(cmd("INFO").query::<Value>(&mut c)?, Value::VerbatimString { .. }));
    let hello: Value = cmd("HELLO").query(&mut c)?;
    let hello: HashMap<String, Value> = HashMap::from_redis_value(hello)?;
    assert_eq!(hello["proto"], Value::Int(3));
    Ok(())
}

pub fn asynchronous(server: &Server) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let client = client(server, protocol);
        runtime.block_on(multiplexed(&client)).expect("multiplexed connection");
    }
}

/// Many tasks over one connection: every reply must find its own request.
async fn multiplexed(client: &Client) -> RedisResult<()> {
    let mut connection: MultiplexedConnection = client.get_multiplexed_async_connection().await?;
    let _: () = cmd("FLUSHALL").query_async(&mut connection).await?;
    let tasks = (0..200).map(|number| {
        let mut connection = connection.clone();
        async move {
            let key = format!("task:{number}");
            let _: () = connection.set(&key, number).await?;
            let read: i64 = connection.get(&key).await?;
            let absent: Option<String> = connection.get("absent").await?;
            assert_eq!((read, absent), (number, None));
            let (replies,): (Vec<i64>,) =
                pipe().cmd("MGET").arg(&key).arg(&key).query_async(&mut connection).await?;
            assert_eq!(replies, [number, number]);
            RedisResult::Ok(())
        }
    });
    let local = tokio::task::LocalSet::new();
    let handles: Vec<_> = tasks.map(|task| local.spawn_local(task)).collect();
    local
        .run_until(async {
            for handle in handles {
                handle.await.expect("no task panicked")?;
            }
            RedisResult::Ok(())
        })
        .await?;
    assert_eq!(cmd("DBSIZE").query_async::<i64>(&mut connection).await?, 200);
    Ok(())
}
