//! The picture, put together tile by tile.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, bail};

pub(crate) struct Picture {
    size: usize,
    tiles: usize,
    pixels: Vec<u8>,
    placed: Vec<bool>,
}

impl Picture {
    pub(crate) fn new(size: u32, tiles: u32) -> Self {
        let (size, tiles) = (size as usize, tiles as usize);
        Self {
            size,
            tiles,
            pixels: vec![0; size * size * 3],
            placed: vec![false; tiles * tiles],
        }
    }

    /// Puts a tile in its place; a tile comes once.
    pub(crate) fn place(&mut self, tile: u32, rgb: &[u8]) -> Result<()> {
        let tile = tile as usize;
        let side = self.size / self.tiles;
        if rgb.len() != side * side * 3 {
            bail!("tile {tile} has {} bytes, not {}", rgb.len(), side * side * 3);
        }
        match self.placed.get_mut(tile) {
            Some(placed) if !*placed => *placed = true,
            Some(_) => bail!("tile {tile} came twice"),
            None => bail!("there is no tile {tile}"),
        }
        let (left, top) = (tile % self.tiles * side, tile / self.tiles * side);
        for (row, line) in rgb.chunks_exact(side * 3).enumerate() {
            let start = ((top + row) * self.size + left) * 3;
            self.pixels[start..start + line.len()].copy_from_slice(line);
        }
        Ok(())
    }

    pub(crate) fn missing(&self) -> usize {
        self.placed.iter().filter(|placed| !**placed).count()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.missing() == 0
    }

    /// Writes it as PNG; the folder is made if it is missing.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let step = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(step)?;
        }
        let file = BufWriter::new(File::create(path).with_context(step)?);
        let size = u32::try_from(self.size)?;
        let mut encoder = png::Encoder::new(file, size, size);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.pixels))
            .with_context(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_find_their_place_once() {
        let mut picture = Picture::new(4, 2);
        for tile in [3, 0, 1, 2] {
            assert!(!picture.is_whole());
            picture.place(tile, &[tile as u8; 12]).expect("its first time");
        }
        assert!(picture.is_whole());
        let first_of_row: Vec<u8> = picture.pixels.chunks(3).map(|pixel| pixel[0]).collect();
        assert_eq!(first_of_row, [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]);
        assert!(picture.place(3, &[0; 12]).is_err(), "twice");
        assert!(picture.place(4, &[0; 12]).is_err(), "outside");
        assert!(picture.place(0, &[0; 11]).is_err(), "too short");
    }
}
