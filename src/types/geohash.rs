//! Places on earth as scores: a geohash of 52 bits, 26 of each coordinate, interleaved.
//!
//! Members whose hashes share a prefix are near each other, so an area is a few ranges of scores.

use std::f64::consts::PI;

pub const LONGITUDE_MAX: f64 = 180.0;
/// The limit of the Mercator projection (EPSG:3857).
pub const LATITUDE_MAX: f64 = 85.051_128_78;
const STEPS_MAX: u32 = 26;
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
const MERCATOR_MAX_M: f64 = 20_037_726.37;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

impl Point {
    pub fn is_valid(self) -> bool {
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&self.longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&self.latitude)
    }

    /// The score of a valid point.
    pub fn to_score(self) -> f64 {
        Cell::of(self, LATITUDE_MAX, STEPS_MAX).bits as f64
    }

    /// The middle of the cell that a score stands for.
    pub fn from_score(score: f64) -> Self {
        let area = Cell { bits: bits_of(score), steps: STEPS_MAX }.area();
        let middle = |low: f64, high: f64, most: f64| ((low + high) / 2.0).clamp(-most, most);
        Self {
            longitude: middle(area.west, area.east, LONGITUDE_MAX),
            latitude: middle(area.south, area.north, LATITUDE_MAX),
        }
    }

    /// The eleven letters of the usual geohash, whose latitudes go to the poles; the last one carries nothing.
    pub fn to_text(self) -> [u8; 11] {
        let bits = Cell::of(self, 90.0, STEPS_MAX).bits;
        std::array::from_fn(|at| {
            let index = if at == 10 { 0 } else { bits >> (52 - (at + 1) * 5) & 31 };
            ALPHABET[index as usize]
        })
    }

    /// Meters along a great circle, by the haversine formula.
    pub fn distance_m(self, other: Self) -> f64 {
        let across = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if across == 0.0 {
            return latitude_distance_m(self.latitude, other.latitude);
        }
        let (own, others) = (radians(self.latitude), radians(other.latitude));
        let along = ((others - own) / 2.0).sin();
        let a = along * along + own.cos() * others.cos() * across * across;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }
}

fn latitude_distance_m(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_M * (radians(other) - radians(one)).abs()
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// What is searched, around a centre; sizes in meters.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
    Polygon(Polygon),
}

impl Shape {
    /// The distance of a point from the centre, if it is within.
    pub fn distance_within(&self, centre: Point, point: Point) -> Option<f64> {
        match *self {
            Self::Circle { radius } => Some(centre.distance_m(point)).filter(|distance| *distance <= radius),
            Self::Polygon(ref polygon) => polygon.holds(point).then(|| centre.distance_m(point)),
            Self::Box { width, height } => {
                let level = Point { longitude: centre.longitude, latitude: point.latitude };
                let within = latitude_distance_m(point.latitude, centre.latitude) <= height / 2.0
                    && point.distance_m(level) <= width / 2.0;
                within.then(|| centre.distance_m(point))
            }
        }
    }

    fn bounds(&self, centre: Point) -> Area {
        let (width, height) = match *self {
            Self::Circle { radius } => (radius, radius),
            Self::Box { width, height } => (width / 2.0, height / 2.0),
            Self::Polygon(ref polygon) => return polygon.bounds(),
        };
        let up = degrees(height / EARTH_RADIUS_M);
        // Meridians are nearer to each other at the end that is farther from the equator.
        let far = if centre.latitude < 0.0 { centre.latitude - up } else { centre.latitude + up };
        let aside = degrees(width / EARTH_RADIUS_M / radians(far).cos());
        Area {
            west: centre.longitude - aside,
            east: centre.longitude + aside,
            south: centre.latitude - up,
            north: centre.latitude + up,
        }
    }

    /// The ranges of scores, low end included and high end not, that hold all points within: those of a cell
    /// around the centre and of its neighbours, as far as they matter, in the order in which Redis searches them.
    pub fn score_ranges(&self, centre: Point) -> Vec<(f64, f64)> {
        let bounds = self.bounds(centre);
        let reach = match *self {
            Self::Circle { radius } => radius,
            Self::Box { width, height } => (width / 2.0).hypot(height / 2.0),
            Self::Polygon(_) => {
                let corners = bounds.corners().map(|corner| centre.distance_m(corner));
                corners.into_iter().fold(0.0, f64::max)
            }
        };
        let mut steps = steps_for(reach, centre.latitude);
        let mut cell = Cell::of(centre, LATITUDE_MAX, steps);
        // Near the edge of its cell a search may reach beyond the neighbours.
        let too_small = |cell: Cell| {
            cell.moved(0, 1).area().north < bounds.north
                || cell.moved(0, -1).area().south > bounds.south
                || cell.moved(1, 0).area().east < bounds.east
                || cell.moved(-1, 0).area().west > bounds.west
        };
        if steps > 1 && too_small(cell) {
            steps -= 1;
            cell = Cell::of(centre, LATITUDE_MAX, steps);
            // A polygon may be much wider on one side of its centre; then its own cells are searched.
            if matches!(self, Self::Polygon(_)) && too_small(cell) {
                return bounds.score_ranges();
            }
        }
        let area = cell.area();
        let matters = |east: i32, north: i32| {
            steps < 2
                || !(north < 0 && area.south < bounds.south
                    || north > 0 && area.north > bounds.north
                    || east < 0 && area.west < bounds.west
                    || east > 0 && area.east > bounds.east)
        };
        const NEIGHBOURS: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut ranges = Vec::with_capacity(9);
        for (east, north) in NEIGHBOURS.into_iter().filter(|(east, north)| matters(*east, *north)) {
            let range = cell.moved(east, north).scores();
            // A search of half the earth has neighbours that are the same.
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        ranges
    }
}

/// An area between straight lines on the map of degrees, each vertex joined to the next and the last to the first.
/// It does not reach over the date line: the way between two longitudes is the one that does not cross it.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    vertices: Box<[Point]>,
}

impl Polygon {
    pub const VERTICES_MIN: usize = 3;

    pub fn new(vertices: Box<[Point]>) -> Self {
        assert!(vertices.len() >= Self::VERTICES_MIN, "fewer vertices enclose nothing");
        Self { vertices }
    }

    /// The middle of the vertices in space, seen from the middle of the earth: where distances begin.
    pub fn centre(&self) -> Point {
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for vertex in &self.vertices {
            let (longitude, latitude) = (radians(vertex.longitude), radians(vertex.latitude));
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        Point { longitude: degrees(y.atan2(x)), latitude: degrees(z.atan2(x.hypot(y))) }
    }

    /// Whether a line from the point to the east crosses the border an odd number of times. Of the border itself
    /// the western and southern sides belong to it.
    fn holds(&self, point: Point) -> bool {
        let last = self.vertices.last().expect("at least three");
        let edges = std::iter::once(last).chain(&self.vertices).zip(&self.vertices);
        let crosses = |(from, to): (&Point, &Point)| {
            (to.latitude > point.latitude) != (from.latitude > point.latitude) && {
                let slope = (from.longitude - to.longitude) / (from.latitude - to.latitude);
                point.longitude < (point.latitude - to.latitude) * slope + to.longitude
            }
        };
        edges.filter(|edge| crosses(*edge)).count() % 2 == 1
    }

    fn bounds(&self) -> Area {
        let longitudes = || self.vertices.iter().map(|vertex| vertex.longitude);
        let latitudes = || self.vertices.iter().map(|vertex| vertex.latitude);
        Area {
            west: longitudes().fold(f64::INFINITY, f64::min),
            east: longitudes().fold(f64::NEG_INFINITY, f64::max),
            south: latitudes().fold(f64::INFINITY, f64::min),
            north: latitudes().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// How many bits of each coordinate make a cell about as large as the search.
fn steps_for(reach_m: f64, latitude: f64) -> u32 {
    if reach_m == 0.0 {
        return STEPS_MAX;
    }
    let (mut reach, mut steps) = (reach_m, 1_i32);
    while reach < MERCATOR_MAX_M {
        reach *= 2.0;
        steps += 1;
    }
    // So that the neighbours cover it, more so towards the poles.
    steps -= 2 + i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, STEPS_MAX as i32) as u32
}

#[derive(Clone, Copy, Debug)]
struct Area {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Area {
    fn corners(self) -> [Point; 4] {
        let corner = |longitude, latitude| Point { longitude, latitude };
        [
            corner(self.west, self.south),
            corner(self.west, self.north),
            corner(self.east, self.south),
            corner(self.east, self.north),
        ]
    }

    /// The ranges of scores of the smallest cells of which nine or fewer cover it.
    fn score_ranges(self) -> Vec<(f64, f64)> {
        const CELLS_MAX: u32 = 9;
        let [low, _, _, high] = self.corners();
        for steps in (1..=STEPS_MAX).rev() {
            let place = |point: Point| {
                let bits = Cell::of(point, LATITUDE_MAX, steps).bits;
                // The easternmost and northernmost degree have a place beyond the last.
                let most = u32::MAX >> (32 - steps);
                (gather(bits >> 1).min(most), gather(bits).min(most))
            };
            let ((west, south), (east, north)) = (place(low), place(high));
            let (columns, rows) = (east - west + 1, north - south + 1);
            if columns.saturating_mul(rows) <= CELLS_MAX {
                let cell = |column, row| Cell { bits: spread(row) | spread(column) << 1, steps }.scores();
                return (west..=east)
                    .flat_map(|column| (south..=north).map(move |row| cell(column, row)))
                    .collect();
            }
        }
        unreachable!("four cells cover the earth")
    }
}

/// A prefix of a geohash: `steps` bits of each coordinate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Cell {
    bits: u64,
    steps: u32,
}

impl Cell {
    fn of(point: Point, latitude_max: f64, steps: u32) -> Self {
        let count = (1_u64 << steps) as f64;
        let latitude = (point.latitude + latitude_max) / (2.0 * latitude_max) * count;
        let longitude = (point.longitude + LONGITUDE_MAX) / (2.0 * LONGITUDE_MAX) * count;
        Self { bits: spread(latitude as u32) | spread(longitude as u32) << 1, steps }
    }

    fn area(self) -> Area {
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        let count = (1_u64 << self.steps) as f64;
        let place = |index: f64, most: f64| -most + index / count * (2.0 * most);
        Area {
            west: place(f64::from(longitude), LONGITUDE_MAX),
            east: place(f64::from(longitude.wrapping_add(1)), LONGITUDE_MAX),
            south: place(f64::from(latitude), LATITUDE_MAX),
            north: place(f64::from(latitude.wrapping_add(1)), LATITUDE_MAX),
        }
    }

    /// The cell so many places to the east and to the north; around the earth both ways.
    fn moved(self, east: i32, north: i32) -> Self {
        let all = u64::MAX >> (64 - self.steps * 2);
        // With the bits of the other coordinate set, a carry passes over them.
        let shift = |own: u64, by: i32| {
            let (mask, other) = (all & own, all & !own);
            let unit = own & own.wrapping_neg();
            let value = self.bits & mask;
            match by {
                0 => value,
                1.. => (value | other).wrapping_add(unit) & mask,
                _ => value.wrapping_sub(unit) & mask,
            }
        };
        Self { bits: shift(LONGITUDE_BITS, east) | shift(LATITUDE_BITS, north), ..self }
    }

    fn scores(self) -> (f64, f64) {
        let shift = 52 - self.steps * 2;
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// Puts a zero before each bit.
fn spread(value: u32) -> u64 {
    let mut bits = u64::from(value);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Every other bit.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

/// A score as 64 bits. Any sorted set may be asked for positions, so the score may be one that no position has;
/// what it becomes then is what compiled C makes of it on x86-64: negative ones wrap around.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = (1_u64 << 63) as f64;
    let signed = |score: f64| if (-HALF..HALF).contains(&score) { score as i64 as u64 } else { 1 << 63 };
    if score < HALF { signed(score) } else { signed(score - HALF) ^ 1 << 63 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PALERMO: Point = Point { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Point = Point { longitude: 15.087269, latitude: 37.502669 };

    /// The values were read from redis-server 7.0.15.
    /// A random comparison found a negative score at another corner of the earth than the reference.
    #[test]
    fn scores_that_no_position_has_wrap_around() {
        assert_eq!(bits_of(-1.0), u64::MAX);
        assert_eq!(bits_of(-1.5), u64::MAX);
        assert_eq!(bits_of(1e19), 10_000_000_000_000_000_000);
        assert_eq!(bits_of(f64::INFINITY), 0);
        assert_eq!(bits_of(f64::NEG_INFINITY), 1 << 63);
    }

    #[test]
    fn known_places() {
        assert_eq!(PALERMO.to_score(), 3_479_099_956_230_698.0);
        assert_eq!(Point::from_score(PALERMO.to_score()).to_text(), *b"sqc8b49rny0");
        assert_eq!(Point::from_score(CATANIA.to_score()).to_text(), *b"sqdtr74hyu0");
        let (one, other) = (Point::from_score(PALERMO.to_score()), Point::from_score(CATANIA.to_score()));
        assert_eq!(format!("{:.4}", one.distance_m(other)), "166274.1516");
    }

    fn point() -> impl Strategy<Value = Point> {
        (-180.0..180.0, -85.0..85.0).prop_map(|(longitude, latitude)| Point { longitude, latitude })
    }

    proptest! {
        #[test]
        fn scores_stand_for_places_nearby(point in point()) {
            let found = Point::from_score(point.to_score());
            prop_assert!((found.longitude - point.longitude).abs() < 6e-6);
            prop_assert!((found.latitude - point.latitude).abs() < 3e-6);
            prop_assert_eq!(found.to_score(), point.to_score());
        }

        #[test]
        fn neighbours_are_there_and_back(point in point(), steps in 1..=26_u32, east in -1..=1, north in -1..=1) {
            let cell = Cell::of(point, LATITUDE_MAX, steps);
            prop_assert_eq!(cell.moved(east, north).moved(-east, -north), cell);
            let area = cell.area();
            prop_assert!(area.west <= point.longitude && point.longitude <= area.east);
            prop_assert!(area.south <= point.latitude && point.latitude <= area.north);
        }

        /// Whatever is within the shape is within one of its ranges of scores; the far north is left out, where
        /// Redis, too, misses what lies beyond a pole.
        #[test]
        fn ranges_cover_the_shape(
            longitude in -170.0..170.0, latitude in -70.0..70.0, aside in -1.0..1.0_f64, up in -1.0..1.0_f64,
            reach in 1.0..500_000.0_f64,
        ) {
            let centre = Point { longitude, latitude };
            let scale = reach / 111_000.0;
            let point = Point { longitude: longitude + aside * scale, latitude: latitude + up * scale };
            prop_assume!(point.is_valid());
            let score = point.to_score();
            let point = Point::from_score(score);
            for shape in [Shape::Circle { radius: reach }, Shape::Box { width: reach, height: reach / 2.0 }] {
                if shape.distance_within(centre, point).is_some() {
                    let ranges = shape.score_ranges(centre);
                    prop_assert!(ranges.iter().any(|(low, high)| (*low..*high).contains(&score)));
                }
            }
        }

        /// The model: a point is within a polygon that does not cross itself if, seen from the point, the vertices
        /// go all the way round. Points that lie nearly on the border are left out.
        #[test]
        fn polygons_hold_what_they_go_round(polygon in star(), point in point(), near in 0..40_usize, at in 0.0..1.0_f64) {
            let vertices = polygon.vertices.clone();
            let vertex = vertices[near % vertices.len()];
            // Half of the points are near the border.
            let centre = polygon.centre();
            let point = if near >= 20 { point } else {
                let toward = |from: f64, to: f64| from + (to - from) * at * 1.4;
                Point {
                    longitude: toward(centre.longitude, vertex.longitude),
                    latitude: toward(centre.latitude, vertex.latitude),
                }
            };
            prop_assume!(point.is_valid());
            let score = point.to_score();
            let point = Point::from_score(score);
            let angle = |vertex: &Point| {
                (vertex.latitude - point.latitude).atan2(vertex.longitude - point.longitude)
            };
            let (mut turned, mut on_border) = (0.0, false);
            for (index, vertex) in vertices.iter().enumerate() {
                let by = angle(&vertices[(index + 1) % vertices.len()]) - angle(vertex);
                let by = by - (by / (2.0 * PI)).round() * 2.0 * PI;
                on_border |= by.abs() > PI - 1e-6;
                turned += by;
            }
            prop_assume!(!on_border);
            let shape = Shape::Polygon(polygon);
            let within = shape.distance_within(centre, point);
            prop_assert_eq!(within.is_some(), turned.abs() > PI);
            if within.is_some() {
                let ranges = shape.score_ranges(centre);
                prop_assert!(ranges.len() <= 9);
                prop_assert!(ranges.iter().any(|(low, high)| (*low..*high).contains(&score)), "{:?}", ranges);
            }
        }
    }

    /// Polygons that do not cross themselves: the vertices go round a middle, each at its own distance.
    fn star() -> impl Strategy<Value = Polygon> {
        let size = prop_oneof![0.0001..0.01_f64, 0.01..5.0_f64, 5.0..170.0_f64];
        (point(), size, 0.05..1.0_f64, prop::collection::vec(0.2..1.0_f64, 3..20), any::<bool>()).prop_map(
            |(middle, size, flat, reaches, backward)| {
                let count = reaches.len() as f64;
                let vertex = |(index, reach): (usize, f64)| {
                    let (sin, cos) = (index as f64 / count * 2.0 * PI).sin_cos();
                    Point {
                        longitude: middle.longitude + cos * reach * size.min(179.0 - middle.longitude.abs()),
                        latitude: middle.latitude
                            + sin * reach * (size * flat).min(85.05 - middle.latitude.abs()),
                    }
                };
                let mut vertices: Vec<Point> = reaches.into_iter().enumerate().map(vertex).collect();
                if backward {
                    vertices.reverse();
                }
                Polygon::new(vertices.into())
            },
        )
    }

    #[test]
    fn of_the_border_of_a_square_the_west_and_the_south_belong_to_it() {
        let point = |longitude, latitude| Point { longitude, latitude };
        let square =
            Polygon::new([point(0.0, 0.0), point(2.0, 0.0), point(2.0, 2.0), point(0.0, 2.0)].into());
        assert!(
            square.holds(point(0.0, 1.0)) && square.holds(point(1.0, 0.0)) && square.holds(point(0.0, 0.0))
        );
        assert!(!square.holds(point(2.0, 1.0)) && !square.holds(point(1.0, 2.0)));
        let centre = square.centre();
        assert!((centre.longitude - 1.0).abs() < 1e-9 && (centre.latitude - 1.0).abs() < 1e-3, "{centre:?}");
    }
}
