//! What a search among places asks for, and what it finds.

use super::geo::{parse_point, parse_unit};
use crate::base::double;
use crate::base::number::parse_i64;
use crate::command_table::Args;
use crate::resp::Argv;
use crate::shard::CommandError;
use crate::types::geohash::{Point, Polygon, Shape};
use crate::types::{ScoreRange, SortedSet};
use std::ops::{Bound, ControlFlow};

/// How a command of the family names centre and shape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// `key longitude latitude radius unit`
    Radius,
    /// `key member radius unit`
    RadiusByMember,
    /// By options.
    Search,
    /// By options, after the destination.
    SearchStore,
}

#[derive(Clone, Copy)]
pub(super) struct Form {
    pub style: Style,
    /// Whether STORE and STOREDIST are options.
    pub may_store: bool,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self.style, Style::Search | Style::SearchStore)
    }

    pub fn source<'a>(self, argv: Argv<'a>) -> &'a [u8] {
        argv.get(if self.style == Style::SearchStore { 2 } else { 1 }).expect("the arity covers it")
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sort {
    None,
    Nearest,
    Farthest,
}

pub(super) struct Query<'a> {
    centre: Option<Point>,
    shape: Option<Shape>,
    /// The meters of the unit that distances are given in.
    unit: f64,
    pub with_distance: bool,
    pub with_hash: bool,
    pub with_coordinates: bool,
    /// 0 for all.
    count: usize,
    any: bool,
    sort: Sort,
    pub store: Option<&'a [u8]>,
    pub store_distance: bool,
}

/// A size in the unit after it: `radius unit`.
fn parse_radius(args: &mut Args<'_>) -> Result<(Shape, f64), CommandError> {
    let radius = double::parse(args.bytes()?).ok_or(CommandError::Text("ERR need numeric radius"))?;
    if radius < 0.0 {
        return Err(CommandError::Text("ERR radius cannot be negative"));
    }
    let unit = parse_unit(args.bytes()?)?;
    Ok((Shape::Circle { radius: radius * unit }, unit))
}

/// `width height unit`
fn parse_box(args: &mut Args<'_>) -> Result<(Shape, f64), CommandError> {
    let width = double::parse(args.bytes()?).ok_or(CommandError::Text("ERR need numeric width"))?;
    let height = double::parse(args.bytes()?).ok_or(CommandError::Text("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::Text("ERR height or width cannot be negative"));
    }
    let unit = parse_unit(args.bytes()?)?;
    Ok((Shape::Box { width: width * unit, height: height * unit }, unit))
}

/// `num-vertices longitude latitude [longitude latitude …]`, as in Valkey 9; distances are in meters.
fn parse_polygon(args: &mut Args<'_>) -> Result<Polygon, CommandError> {
    let count = parse_i64(args.bytes()?).and_then(|count| i32::try_from(count).ok());
    let count = count.ok_or(CommandError::Text("ERR invalid number of vertices"))?;
    let enough = usize::try_from(count)
        .ok()
        .filter(|count| (Polygon::VERTICES_MIN..=args.remaining() / 2).contains(count));
    let count = enough.ok_or(CommandError::Text("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"))?;
    (0..count).map(|_| parse_point(args)).collect::<Result<_, _>>().map(Polygon::new)
}

/// Where a member is; `None` if there is no set at all, which is no error yet.
fn place_of(set: Option<&SortedSet>, member: &[u8]) -> Result<Option<Point>, CommandError> {
    let Some(set) = set else { return Ok(None) };
    let unknown = CommandError::Text("ERR could not decode requested zset member");
    set.score(member).map(|score| Some(Point::from_score(score))).ok_or(unknown)
}

impl<'a> Query<'a> {
    pub fn parse(argv: Argv<'a>, form: Form, set: Option<&SortedSet>) -> Result<Self, CommandError> {
        let mut query = Self {
            centre: None,
            shape: None,
            unit: 1.0,
            with_distance: false,
            with_hash: false,
            with_coordinates: false,
            count: 0,
            any: false,
            sort: Sort::None,
            store: None,
            store_distance: false,
        };
        let mut args = Args::new(argv, 2);
        match form.style {
            Style::Radius => {
                query.centre = Some(parse_point(&mut args)?);
                query.circle(&mut args)?;
            }
            Style::RadiusByMember => {
                query.centre = place_of(set, args.bytes()?)?;
                // Without a set the rest is not looked at so closely.
                if set.is_some() {
                    query.circle(&mut args)?;
                } else {
                    args = Args::new(argv, 5);
                }
            }
            Style::Search => {}
            Style::SearchStore => {
                query.store = argv.get(1);
                args = Args::new(argv, 3);
            }
        }
        let (mut from_member, mut from_point) = (false, false);
        while args.remaining() > 0 {
            let more = args.remaining() - 1;
            let stores = form.may_store && more > 0;
            if args.option("WITHDIST") {
                query.with_distance = true;
            } else if args.option("WITHHASH") {
                query.with_hash = true;
            } else if args.option("WITHCOORD") {
                query.with_coordinates = true;
            } else if args.option("ANY") {
                query.any = true;
            } else if args.option("ASC") {
                query.sort = Sort::Nearest;
            } else if args.option("DESC") {
                query.sort = Sort::Farthest;
            } else if more > 0 && args.option("COUNT") {
                let count = args.integer()?;
                let positive = usize::try_from(count).ok().filter(|count| *count > 0);
                query.count = positive.ok_or(CommandError::Text("ERR COUNT must be > 0"))?;
            } else if stores && args.option("STORE") {
                (query.store, query.store_distance) = (args.next(), false);
            } else if stores && args.option("STOREDIST") {
                (query.store, query.store_distance) = (args.next(), true);
            } else if form.is_search()
                && !from_point
                && !query.has_polygon()
                && more > 0
                && args.option("FROMMEMBER")
            {
                query.centre = place_of(set, args.bytes()?)?;
                from_member = true;
            } else if form.is_search()
                && !from_member
                && !query.has_polygon()
                && more > 1
                && args.option("FROMLONLAT")
            {
                query.centre = Some(parse_point(&mut args)?);
                from_point = true;
            } else if form.is_search()
                && !query.has_box()
                && !query.has_polygon()
                && more > 1
                && args.option("BYRADIUS")
            {
                query.circle(&mut args)?;
            } else if form.is_search()
                && !query.has_circle()
                && !query.has_polygon()
                && more > 2
                && args.option("BYBOX")
            {
                let (shape, unit) = parse_box(&mut args)?;
                (query.shape, query.unit) = (Some(shape), unit);
            } else if form.is_search()
                && !from_member
                && !from_point
                && query.shape.is_none()
                && more > 1
                && args.option("BYPOLYGON")
            {
                let polygon = parse_polygon(&mut args)?;
                (query.centre, query.shape, query.unit) =
                    (Some(polygon.centre()), Some(Shape::Polygon(polygon)), 1.0);
            } else if form.style == Style::SearchStore && args.option("STOREDIST") {
                query.store_distance = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        query.check(argv, form, from_member || from_point || query.has_polygon())?;
        if query.count > 0 && query.sort == Sort::None && !query.any {
            query.sort = Sort::Nearest;
        }
        Ok(query)
    }

    fn circle(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        let (shape, unit) = parse_radius(args)?;
        (self.shape, self.unit) = (Some(shape), unit);
        Ok(())
    }

    fn has_box(&self) -> bool {
        matches!(self.shape, Some(Shape::Box { .. }))
    }

    fn has_circle(&self) -> bool {
        matches!(self.shape, Some(Shape::Circle { .. }))
    }

    fn has_polygon(&self) -> bool {
        matches!(self.shape, Some(Shape::Polygon(_)))
    }

    fn check(&self, argv: Argv<'_>, form: Form, has_centre: bool) -> Result<(), CommandError> {
        let name = || String::from_utf8_lossy(&argv[0]).into_owned();
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_coordinates) {
            let what = match form.style {
                Style::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            let text = format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(CommandError::built(text));
        }
        if form.is_search() && !has_centre {
            let text = format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {}", name());
            return Err(CommandError::built(text));
        }
        if form.is_search() && self.shape.is_none() {
            let text = format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {}", name());
            return Err(CommandError::built(text));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::Text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    pub fn search(&self, set: &SortedSet) -> Vec<Found> {
        let (Some(centre), Some(shape)) = (self.centre, &self.shape) else { return Vec::new() };
        let enough = if self.any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        for (low, high) in shape.score_ranges(centre) {
            let range = ScoreRange { low: Bound::Included(low), high: Bound::Excluded(high) };
            set.visit(set.ranks_of_scores(&range), false, |member, score| {
                let place = Point::from_score(score);
                if let Some(distance) = shape.distance_within(centre, place) {
                    let member = member.to_vec();
                    found.push(Found { member, score, place, distance: distance / self.unit });
                }
                if found.len() < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if found.len() >= enough {
                break;
            }
        }
        match self.sort {
            Sort::None => {}
            Sort::Nearest => found.sort_by(|one, other| one.distance.total_cmp(&other.distance)),
            Sort::Farthest => found.sort_by(|one, other| other.distance.total_cmp(&one.distance)),
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }
}

pub(super) struct Found {
    pub member: Vec<u8>,
    pub score: f64,
    pub place: Point,
    pub distance: f64,
}
