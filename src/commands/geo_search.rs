//! Places near others: GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS family.

use super::geo::{write_distance, write_point};
use super::geo_query::{Form, Found, Query, Style};
use super::read_then_write::{Answer, Next, ReadThenWrite, fail, integer};
use super::zset::{read_zset, store_zset};
use crate::command_table::{
    Access, Arg, Args, Arity, Begin, CommandSpec, DEFAULTS, Find, Flag, Flags, Group, Handler, KeySpec, Kind,
    Plan,
};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&GEOSEARCH, &GEOSEARCHSTORE, &GEORADIUS, &GEORADIUS_RO, &GEORADIUSBYMEMBER, &GEORADIUSBYMEMBER_RO];

/// What a search answers.
enum Outcome {
    Reply { found: Vec<Found>, distance: bool, hash: bool, coordinates: bool },
    Store { key: Box<[u8]>, members: Vec<(Vec<u8>, f64)> },
}

fn search(ctx: &mut Context<'_>, argv: Argv<'_>, form: Form) -> Result<Outcome, CommandError> {
    let set = read_zset(ctx, form.source(argv))?;
    let query = Query::parse(argv, form, set)?;
    let found = set.map(|set| query.search(set)).unwrap_or_default();
    Ok(match query.store {
        None => Outcome::Reply {
            found,
            distance: query.with_distance,
            hash: query.with_hash,
            coordinates: query.with_coordinates,
        },
        Some(key) => {
            let by_distance = query.store_distance;
            let score = |found: &Found| if by_distance { found.distance } else { found.score };
            let members = found.into_iter().map(|found| (score(&found), found.member));
            Outcome::Store {
                key: key.into(),
                members: members.map(|(score, member)| (member, score)).collect(),
            }
        }
    })
}

fn write(reply: &mut Reply<'_>, found: &[Found], distance: bool, hash: bool, coordinates: bool) {
    let options = usize::from(distance) + usize::from(hash) + usize::from(coordinates);
    reply.array(found.len());
    for found in found {
        if options > 0 {
            reply.array(options + 1);
        }
        reply.bulk(&found.member);
        if distance {
            write_distance(reply, found.distance);
        }
        if hash {
            reply.integer(found.score as i64);
        }
        if coordinates {
            write_point(reply, found.place);
        }
    }
}

fn event(form: Form) -> Event {
    if form.style == Style::SearchStore { Event::GeoSearchStore } else { Event::GeoRadiusStore }
}

fn run(ctx: &mut Context<'_>, args: Args<'_>, form: Form, reply: &mut Reply<'_>) -> CommandResult {
    match search(ctx, args.argv(), form)? {
        Outcome::Reply { found, distance, hash, coordinates } => {
            write(reply, &found, distance, hash, coordinates);
        }
        Outcome::Store { key, members } => reply.length(store_zset(ctx, &key, members, event(form))),
    }
    Ok(())
}

fn plan(argv: Argv<'_>, form: Form) -> Box<dyn Plan> {
    let (source, argv) = (form.source(argv).into(), argv.to_owned());
    ReadThenWrite::plan(
        vec![source],
        move |ctx, _| search(ctx, argv.as_argv(), form),
        move |mut read| match read.pop().expect("one key is read") {
            Err(error) => Next::Answer(fail(error)),
            Ok(Outcome::Reply { found, distance, hash, coordinates }) => {
                Next::Answer(Box::new(move |reply| {
                    write(reply, &found, distance, hash, coordinates);
                    Ok(())
                }))
            }
            Ok(Outcome::Store { key, members }) => Next::At {
                key: key.clone(),
                run: Box::new(move |ctx| -> Answer {
                    integer(store_zset(ctx, &key, members, event(form)) as i64)
                }),
            },
        },
    )
}

const RADIUS: Form = Form { style: Style::Radius, may_store: true };
const RADIUS_BY_MEMBER: Form = Form { style: Style::RadiusByMember, may_store: true };
const SEARCH_STORE: Form = Form { style: Style::SearchStore, may_store: false };

/// What is searched: a circle or a box around a place, or a polygon.
const AREA: Arg = Arg::one_of(
    "area",
    &[
        Arg::block(
            "radius-or-box",
            &[
                Arg::one_of(
                    "from",
                    &[
                        Arg::string("member").after("FROMMEMBER"),
                        Arg::block(
                            "longitude_latitude",
                            &[Arg::new("longitude", Kind::Double), Arg::new("latitude", Kind::Double)],
                        )
                        .after("FROMLONLAT"),
                    ],
                ),
                Arg::one_of(
                    "by",
                    &[
                        Arg::block(
                            "circle",
                            &[
                                Arg::new("radius", Kind::Double).after("BYRADIUS"),
                                Arg::one_of(
                                    "unit",
                                    &[
                                        Arg::token("m", "M"),
                                        Arg::token("km", "KM"),
                                        Arg::token("ft", "FT"),
                                        Arg::token("mi", "MI"),
                                    ],
                                ),
                            ],
                        ),
                        Arg::block(
                            "box",
                            &[
                                Arg::new("width", Kind::Double).after("BYBOX"),
                                Arg::new("height", Kind::Double),
                                Arg::one_of(
                                    "unit",
                                    &[
                                        Arg::token("m", "M"),
                                        Arg::token("km", "KM"),
                                        Arg::token("ft", "FT"),
                                        Arg::token("mi", "MI"),
                                    ],
                                ),
                            ],
                        ),
                    ],
                ),
            ],
        ),
        Arg::block(
            "polygon",
            &[
                Arg::integer("num-vertices").after("BYPOLYGON"),
                Arg::block(
                    "vertex",
                    &[Arg::new("longitude", Kind::Double), Arg::new("latitude", Kind::Double)],
                )
                .multiple(),
            ],
        )
        .since("9.0.0"),
    ],
);

const GEOSEARCH: CommandSpec = CommandSpec {
    name: "GEOSEARCH",
    full_name: "geosearch",
    arity: Arity::AtLeast(7),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Geo,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N+log(M)) where N is the number of places in the cells around the shape and M the size of the sorted set.",
    summary: "Returns the places within a circle, a box or a polygon.",
    args: &[
        Arg::key("key"),
        AREA,
        Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional(),
        Arg::block("count", &[Arg::integer("count").after("COUNT"), Arg::token("any", "ANY").optional()])
            .optional(),
        Arg::token("withcoord", "WITHCOORD").optional(),
        Arg::token("withdist", "WITHDIST").optional(),
        Arg::token("withhash", "WITHHASH").optional(),
    ],
    handler: Handler::Shard(geosearch),
    ..DEFAULTS
};

fn geosearch(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, Form { style: Style::Search, may_store: false }, reply)
}

const GEOSEARCHSTORE: CommandSpec = CommandSpec {
    name: "GEOSEARCHSTORE",
    full_name: "geosearchstore",
    arity: Arity::AtLeast(8),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Geo,
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"]), KeySpec::at(2, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N+log(M)) where N is the number of places in the cells around the shape and M the size of the sorted set.",
    summary: "Stores the places within a circle, a box or a polygon.",
    args: &[
        Arg::key("destination"),
        Arg::new("source", Kind::Key(1)),
        AREA,
        Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional(),
        Arg::block("count", &[Arg::integer("count").after("COUNT"), Arg::token("any", "ANY").optional()])
            .optional(),
        Arg::token("storedist", "STOREDIST").optional(),
    ],
    handler: Handler::Transaction { run: geosearchstore, plan: plan_geosearchstore },
    ..DEFAULTS
};

fn geosearchstore(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, SEARCH_STORE, reply)
}

fn plan_geosearchstore(argv: Argv<'_>) -> Box<dyn Plan> {
    plan(argv, SEARCH_STORE)
}

const GEORADIUS: CommandSpec = CommandSpec {
    name: "GEORADIUS",
    full_name: "georadius",
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Geo,
    keys: &[
        KeySpec::at(1, Access::Read, &["access"]),
        KeySpec {
            begin: Begin::Keyword("STORE", 6),
            find: Find::Range { last: 0, step: 1 },
            access: Access::Overwrite,
            effects: &["update"],
        },
        KeySpec {
            begin: Begin::Keyword("STOREDIST", 6),
            find: Find::Range { last: 0, step: 1 },
            access: Access::Overwrite,
            effects: &["update"],
        },
    ],
    since: "3.2.0",
    complexity: "O(N+log(M)) where N is the number of places in the cells around the circle and M the size of the sorted set.",
    summary: "Returns or stores the places within a circle.",
    args: &[
        Arg::key("key"),
        Arg::new("longitude", Kind::Double),
        Arg::new("latitude", Kind::Double),
        Arg::new("radius", Kind::Double),
        Arg::one_of(
            "unit",
            &[Arg::token("m", "M"), Arg::token("km", "KM"), Arg::token("ft", "FT"), Arg::token("mi", "MI")],
        ),
        Arg::token("withcoord", "WITHCOORD").optional(),
        Arg::token("withdist", "WITHDIST").optional(),
        Arg::token("withhash", "WITHHASH").optional(),
        Arg::block(
            "count",
            &[Arg::integer("count").after("COUNT"), Arg::token("any", "ANY").optional().since("6.2.0")],
        )
        .optional(),
        Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional(),
        Arg::new("key", Kind::Key(1)).after("STORE").optional(),
        Arg::new("key", Kind::Key(2)).after("STOREDIST").optional(),
    ],
    handler: Handler::Transaction { run: georadius, plan: plan_georadius },
    ..DEFAULTS
};

fn georadius(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, RADIUS, reply)
}

fn plan_georadius(argv: Argv<'_>) -> Box<dyn Plan> {
    plan(argv, RADIUS)
}

const GEORADIUS_RO: CommandSpec = CommandSpec {
    name: "GEORADIUS_RO",
    full_name: "georadius_ro",
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Geo,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "3.2.10",
    complexity: "O(N+log(M)) where N is the number of places in the cells around the circle and M the size of the sorted set.",
    summary: "Returns the places within a circle.",
    args: &[
        Arg::key("key"),
        Arg::new("longitude", Kind::Double),
        Arg::new("latitude", Kind::Double),
        Arg::new("radius", Kind::Double),
        Arg::one_of(
            "unit",
            &[Arg::token("m", "M"), Arg::token("km", "KM"), Arg::token("ft", "FT"), Arg::token("mi", "MI")],
        ),
        Arg::token("withcoord", "WITHCOORD").optional(),
        Arg::token("withdist", "WITHDIST").optional(),
        Arg::token("withhash", "WITHHASH").optional(),
        Arg::block(
            "count",
            &[Arg::integer("count").after("COUNT"), Arg::token("any", "ANY").optional().since("6.2.0")],
        )
        .optional(),
        Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional(),
    ],
    handler: Handler::Shard(georadius_ro),
    ..DEFAULTS
};

fn georadius_ro(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, Form { may_store: false, ..RADIUS }, reply)
}

const GEORADIUSBYMEMBER: CommandSpec = CommandSpec {
    name: "GEORADIUSBYMEMBER",
    full_name: "georadiusbymember",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Geo,
    keys: &[
        KeySpec::at(1, Access::Read, &["access"]),
        KeySpec {
            begin: Begin::Keyword("STORE", 5),
            find: Find::Range { last: 0, step: 1 },
            access: Access::Overwrite,
            effects: &["update"],
        },
        KeySpec {
            begin: Begin::Keyword("STOREDIST", 5),
            find: Find::Range { last: 0, step: 1 },
            access: Access::Overwrite,
            effects: &["update"],
        },
    ],
    since: "3.2.0",
    complexity: "O(N+log(M)) where N is the number of places in the cells around the circle and M the size of the sorted set.",
    summary: "Returns or stores the places within a circle around another one.",
    args: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::new("radius", Kind::Double),
        Arg::one_of(
            "unit",
            &[Arg::token("m", "M"), Arg::token("km", "KM"), Arg::token("ft", "FT"), Arg::token("mi", "MI")],
        ),
        Arg::token("withcoord", "WITHCOORD").optional(),
        Arg::token("withdist", "WITHDIST").optional(),
        Arg::token("withhash", "WITHHASH").optional(),
        Arg::block("count", &[Arg::integer("count").after("COUNT"), Arg::token("any", "ANY").optional()])
            .optional(),
        Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional(),
        Arg::new("key", Kind::Key(1)).after("STORE").optional(),
        Arg::new("key", Kind::Key(2)).after("STOREDIST").optional(),
    ],
    handler: Handler::Transaction { run: georadiusbymember, plan: plan_georadiusbymember },
    ..DEFAULTS
};

fn georadiusbymember(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, RADIUS_BY_MEMBER, reply)
}

fn plan_georadiusbymember(argv: Argv<'_>) -> Box<dyn Plan> {
    plan(argv, RADIUS_BY_MEMBER)
}

const GEORADIUSBYMEMBER_RO: CommandSpec = CommandSpec {
    name: "GEORADIUSBYMEMBER_RO",
    full_name: "georadiusbymember_ro",
    arity: Arity::AtLeast(5),
    summary: "Returns the places within a circle around another one.",
    args: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::new("radius", Kind::Double),
        Arg::one_of(
            "unit",
            &[Arg::token("m", "M"), Arg::token("km", "KM"), Arg::token("ft", "FT"), Arg::token("mi", "MI")],
        ),
        Arg::token("withcoord", "WITHCOORD").optional(),
        Arg::token("withdist", "WITHDIST").optional(),
        Arg::token("withhash", "WITHHASH").optional(),
        Arg::block("count", &[Arg::integer("count").after("COUNT"), Arg::token("any", "ANY").optional()])
            .optional(),
        Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional(),
    ],
    handler: Handler::Shard(georadiusbymember_ro),
    ..GEORADIUS_RO
};

fn georadiusbymember_ro(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, Form { may_store: false, ..RADIUS_BY_MEMBER }, reply)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn searches() {
        check(
            r#"
            > GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge1 17.241510 38.788135 edge2
            :4
            > GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC
            [$Catania, $Palermo]
            > GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST WITHHASH
            [[$Catania, $56.4413, :3479447370796909, [$15.08726745843887329, $37.50266842333162032]], [$Palermo, $190.4424, :3479099956230698, [$13.36138933897018433, $38.11555639549629859]], [$edge2, $279.7403, :3481342659049484, [$17.24151045083999634, $38.78813451624225195]], [$edge1, $279.7405, :3479273021651468, [$12.7584877610206604, $38.78813451624225195]]]
            > GEOSEARCH g FROMMEMBER Palermo BYRADIUS 300 km DESC COUNT 2
            [$Catania, $edge1]
            > GEOSEARCH g FROMMEMBER none BYRADIUS 300 km
            -ERR could not decode requested zset member
            > GEOSEARCH g FROMMEMBER Palermo
            -ERR wrong number of arguments for 'geosearch' command
            > GEOSEARCH g BYRADIUS 1 km
            -ERR wrong number of arguments for 'geosearch' command
            > GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 km ANY
            -ERR the ANY argument requires COUNT argument
            > GEOSEARCH g FROMMEMBER Palermo BYRADIUS -1 km
            -ERR radius cannot be negative
            > GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 km COUNT 0
            -ERR COUNT must be > 0
            > GEOSEARCH none FROMMEMBER Palermo BYRADIUS 1 km
            []
            > GEOSEARCH g BYPOLYGON 4 13 38 14 38 14 39 13 39
            [$Palermo]
            > GEOSEARCH g BYPOLYGON 3 12 37 18 37 15 40 ASC WITHDIST
            [[$Catania, $58674.3150], [$Palermo, $143827.8507]]
            > GEOSEARCH g BYPOLYGON 3 12 37 18 37 15 40 DESC COUNT 1
            [$Palermo]
            > GEOSEARCHSTORE d g BYPOLYGON 3 12 37 18 37 15 40 STOREDIST
            :2
            > GEOSEARCH none BYPOLYGON 3 12 37 18 37 15 40
            []
            > GEOSEARCH g BYPOLYGON 2 12 37 18 37 ASC ASC
            -ERR GEOSEARCH BYPOLYGON must have at least 3 vertices
            > GEOSEARCH g BYPOLYGON 4 12 37 18 37 15 40
            -ERR GEOSEARCH BYPOLYGON must have at least 3 vertices
            > GEOSEARCH g BYPOLYGON x 12 37 18 37 15 40
            -ERR invalid number of vertices
            > GEOSEARCH g BYPOLYGON 3 12 37 181 37 15 40
            -ERR invalid longitude,latitude pair 181.000000,37.000000
            > GEOSEARCH g FROMLONLAT 15 37 BYPOLYGON 3 12 37 18 37 15 40
            -ERR syntax error
            > GEOSEARCH g BYPOLYGON 3 12 37 18 37 15 40 FROMMEMBER Palermo
            -ERR syntax error
            > GEOSEARCH g BYPOLYGON 3 12 37 18 37 15 40 BYRADIUS 1 km
            -ERR syntax error
            > GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km
            :2
            > ZRANGE d 0 -1 WITHSCORES
            [$Palermo, $3479099956230698, $Catania, $3479447370796909]
            > GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST
            :2
            > GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km WITHDIST
            -ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
            > GEOSEARCHSTORE d none FROMLONLAT 15 37 BYRADIUS 200 km
            :0
            > EXISTS d
            :0
            > GEORADIUS g 15 37 200 km WITHDIST ASC
            [[$Catania, $56.4413], [$Palermo, $190.4424]]
            > GEORADIUS g 15 37 200 km STORE d
            :2
            > ZRANGE d 0 -1
            [$Palermo, $Catania]
            > GEORADIUS g 15 37 200 km STORE d WITHDIST
            -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
            > GEORADIUS_RO g 15 37 200 km STORE d
            -ERR syntax error
            > GEORADIUSBYMEMBER g Palermo 200 km ASC
            [$Palermo, $edge1, $Catania]
            > GEORADIUSBYMEMBER g none 200 km
            -ERR could not decode requested zset member
            > GEORADIUSBYMEMBER none a 200 km
            []
            > GEORADIUSBYMEMBER_RO g Palermo 100 km
            [$Palermo, $edge1]
            "#,
        );
    }
}
