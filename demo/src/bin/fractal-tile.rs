//! `fractal-tile`: computes one square tile of a picture of the Mandelbrot set and writes it to standard output
//! as raw RGB. An ordinary program that knows nothing of the pool: what a work of the demo runs.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// Computes one tile of a picture of the Mandelbrot set, as raw RGB on standard output
#[derive(Parser)]
struct Arguments {
    /// Number of the tile, row by row from the top left
    #[arg(long)]
    tile: u32,
    /// Tiles in a row, and rows of tiles
    #[arg(long, default_value_t = 32)]
    tiles: u32,
    /// Pixels in a row of the whole picture, and rows; a multiple of the tiles
    #[arg(long, default_value_t = 4096)]
    size: u32,
    /// Steps after which a point counts as inside
    #[arg(long, default_value_t = 3000)]
    steps: u32,
}

/// The part of the plane that the picture shows: a spiral in the valley between the two bulbs.
const CENTRE: (f64, f64) = (-0.743_643_135, 0.131_825_963);
const WIDTH: f64 = 0.000_4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Arguments {
        tile, tiles, size, ..
    } = arguments;
    if tiles == 0 || tile >= tiles * tiles || !size.is_multiple_of(tiles) {
        eprintln!("fractal-tile: tile {tile} of {tiles} × {tiles} tiles of {size} pixels does not exist");
        return ExitCode::from(2);
    }
    let pixels = render(&arguments);
    match std::io::stdout().write_all(&pixels) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fractal-tile: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn render(arguments: &Arguments) -> Vec<u8> {
    let side = arguments.size / arguments.tiles;
    let (left, top) = (
        arguments.tile % arguments.tiles * side,
        arguments.tile / arguments.tiles * side,
    );
    let pixel = WIDTH / f64::from(arguments.size);
    let mut out = Vec::with_capacity((side * side * 3) as usize);
    for y in top..top + side {
        for x in left..left + side {
            let offset = |at: u32| (f64::from(at) - f64::from(arguments.size) / 2.0) * pixel;
            out.extend(colour(escape(
                CENTRE.0 + offset(x),
                CENTRE.1 - offset(y),
                arguments.steps,
            )));
        }
    }
    out
}

/// Steps until the point leaves, as a smooth number; `None`: it does not.
fn escape(cx: f64, cy: f64, steps: u32) -> Option<f64> {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..steps {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 256.0 {
            // The renormalised count makes colours run without bands.
            return Some(f64::from(step) + 1.0 - f64::ln(xx + yy).log2() + 3.0);
        }
        y = 2.0 * x * y + cy;
        x = xx - yy + cx;
    }
    None
}

fn colour(escaped: Option<f64>) -> [u8; 3] {
    let Some(steps) = escaped else { return [0, 0, 0] };
    let turn = steps.max(1.0).ln() * 1.9;
    let wave = |phase: f64| ((turn + phase).sin() * 0.5 + 0.5).powf(1.3) * 255.0;
    [wave(4.2) as u8, wave(3.6) as u8, wave(2.7) as u8]
}
