//! A function without a body.

trait Shape {
    #[alloc_core::track_memory]
    fn area(&self) -> f64;
}

unsafe extern "C" {
    #[alloc_core::track_memory]
    fn getpid() -> i32;
}

struct Point;

impl Shape for Point {
    fn area(&self) -> f64 {
        0.0
    }
}

fn main() {
    Point.area();
    let _ = unsafe { getpid() };
}
