//! Places: GEOADD, GEODIST, GEOHASH, GEOPOS.

use super::zset::read_zset;
use super::zset_add::{AddOptions, add_all};
use crate::base::double;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context};
use crate::types::geohash::Point;

pub(super) const COMMANDS: &[&CommandSpec] = &[&GEOADD, &GEODIST, &GEOHASH, &GEOPOS];

/// Longitude and latitude, within their limits.
pub(super) fn parse_point(args: &mut Args<'_>) -> Result<Point, CommandError> {
    let mut number = || double::parse(args.bytes()?).ok_or(CommandError::NotAFloat);
    let point = Point { longitude: number()?, latitude: number()? };
    if point.is_valid() {
        return Ok(point);
    }
    let Point { longitude, latitude } = point;
    Err(CommandError::built(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// The meters of a unit.
pub(super) fn parse_unit(text: &[u8]) -> Result<f64, CommandError> {
    let units = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = units.iter().find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()));
    let unknown = CommandError::Text("ERR unsupported unit provided. please use M, KM, FT, MI");
    found.map(|(_, meters)| *meters).ok_or(unknown)
}

pub(super) fn write_distance(reply: &mut Reply<'_>, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}

pub(super) fn write_point(reply: &mut Reply<'_>, point: Point) {
    reply.array(2);
    for coordinate in [point.longitude, point.latitude] {
        let mut text = Vec::with_capacity(24);
        double::write_human(coordinate, &mut text);
        if reply.is_resp3() {
            text.insert(0, b',');
            text.extend_from_slice(b"\r\n");
            reply.raw(&text);
        } else {
            reply.bulk(&text);
        }
    }
}

const GEOADD: CommandSpec = CommandSpec {
    name: "GEOADD",
    full_name: "geoadd",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Geo,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "3.2.0",
    complexity: "O(log(N)) for each place, where N is the size of the sorted set.",
    summary: "Adds places to a sorted set.",
    args: &[
        Arg::key("key"),
        Arg::one_of("condition", &[Arg::token("nx", "NX"), Arg::token("xx", "XX")]).optional().since("6.2.0"),
        Arg::token("change", "CH").optional().since("6.2.0"),
        Arg::block(
            "longitude_latitude_member",
            &[Arg::new("longitude", Kind::Double), Arg::new("latitude", Kind::Double), Arg::string("member")],
        )
        .multiple(),
    ],
    handler: Handler::Shard(geoadd),
    ..DEFAULTS
};

fn geoadd(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let mut options = AddOptions::default();
    loop {
        let option = if args.option("NX") {
            &mut options.only_new
        } else if args.option("XX") {
            &mut options.only_old
        } else if args.option("CH") {
            &mut options.changed
        } else {
            break;
        };
        *option = true;
    }
    if args.remaining() == 0 || !args.remaining().is_multiple_of(3) || options.only_new && options.only_old {
        return Err(CommandError::Syntax);
    }
    let mut places = Vec::with_capacity(args.remaining() / 3);
    while args.remaining() > 0 {
        let point = parse_point(&mut args)?;
        places.push((point.to_score(), args.bytes()?));
    }
    let options_end = args.argv().len() - places.len() * 3;
    let changes = ctx.shard.effects.changes();
    add_all(ctx, key, options, places.iter().copied(), reply)?;
    if ctx.shard.effects.changes() != changes {
        propagate_places(ctx, args.argv().slice(0..options_end), &places);
    }
    Ok(())
}

/// Journals places as the scores that they are, as ZADD with the same options.
fn propagate_places(ctx: &mut Context<'_>, head: Argv<'_>, places: &[(f64, &[u8])]) {
    if !ctx.journals() {
        return;
    }
    let mut scores = Vec::new();
    let ends: Vec<usize> = places
        .iter()
        .map(|(score, _)| {
            double::write_score(*score, &mut scores);
            scores.len()
        })
        .collect();
    let mut argv: Vec<&[u8]> = vec![b"ZADD"];
    argv.extend(head.iter().skip(1));
    let mut start = 0;
    for ((_, member), end) in places.iter().zip(ends) {
        argv.extend([&scores[start..end], member]);
        start = end;
    }
    ctx.propagate(&argv);
}

const GEODIST: CommandSpec = CommandSpec {
    name: "GEODIST",
    full_name: "geodist",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Geo,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "3.2.0",
    complexity: "O(1).",
    summary: "Returns the distance between two places.",
    args: &[
        Arg::key("key"),
        Arg::string("member1"),
        Arg::string("member2"),
        Arg::one_of(
            "unit",
            &[Arg::token("m", "M"), Arg::token("km", "KM"), Arg::token("ft", "FT"), Arg::token("mi", "MI")],
        )
        .optional(),
    ],
    handler: Handler::Shard(geodist),
    ..DEFAULTS
};

fn geodist(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, one, other) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let unit = match args.next() {
        Some(text) if args.remaining() == 0 => parse_unit(text)?,
        Some(_) => return Err(CommandError::Syntax),
        None => 1.0,
    };
    let set = read_zset(ctx, key)?;
    let place = |member| set.and_then(|set| set.score(member)).map(Point::from_score);
    match place(one).zip(place(other)) {
        Some((one, other)) => write_distance(reply, one.distance_m(other) / unit),
        None => reply.null(),
    }
    Ok(())
}

const GEOHASH: CommandSpec = CommandSpec {
    name: "GEOHASH",
    full_name: "geohash",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Geo,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "3.2.0",
    complexity: "O(1) for each place.",
    summary: "Returns the geohash texts of places.",
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: Handler::Shard(geohash),
    ..DEFAULTS
};

fn geohash(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = read_zset(ctx, args.bytes()?)?;
    reply.array(args.remaining());
    for member in args {
        match set.and_then(|set| set.score(member)) {
            Some(score) => reply.bulk(&Point::from_score(score).to_text()),
            None => reply.null(),
        }
    }
    Ok(())
}

const GEOPOS: CommandSpec = CommandSpec {
    name: "GEOPOS",
    full_name: "geopos",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Geo,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "3.2.0",
    complexity: "O(1) for each place.",
    summary: "Returns the coordinates of places.",
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: Handler::Shard(geopos),
    ..DEFAULTS
};

fn geopos(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = read_zset(ctx, args.bytes()?)?;
    reply.array(args.remaining());
    for member in args {
        match set.and_then(|set| set.score(member)) {
            Some(score) => write_point(reply, Point::from_score(score)),
            None => reply.null_array(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn places() {
        check(
            r#"
            > GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
            :2
            > GEOADD g CH 13.5 38.1 Palermo
            :1
            > GEOADD g NX 1 1 Palermo
            :0
            > GEOADD g NX XX 1 1 Palermo
            -ERR syntax error
            > GEOADD g 1 1
            -ERR wrong number of arguments for 'geoadd' command
            > GEOADD g 200 1 a
            -ERR invalid longitude,latitude pair 200.000000,1.000000
            > GEOADD g 1 x a
            -ERR value is not a valid float
            > GEOPOS g Palermo none
            [[$13.50000053644180298, $38.10000081174143105], NullArray]
            > GEOPOS none a
            [NullArray]
            > GEODIST g Palermo Catania
            $154506.7508
            > GEODIST g Palermo Catania km
            $154.5068
            > GEODIST g Palermo none
            nil
            > GEODIST g Palermo Catania parsec
            -ERR unsupported unit provided. please use M, KM, FT, MI
            > GEOHASH g Palermo Catania none
            [$sqc8epyksf0, $sqdtr74hyu0, nil]
            > GEOHASH none a
            [nil]
            > SET s x
            +OK
            > GEOPOS s a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }
}
