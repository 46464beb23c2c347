//! Pictures for the documentation, small: a page has few colours, so each pixel is one of 256.

use std::collections::HashMap;

/// The PNG that a browser gives, as a palette PNG: the most frequent colours stay, the others become the nearest of these.
pub fn small(picture: &[u8]) -> Vec<u8> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(picture));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("a picture");
    let samples = info.color_type.samples();
    assert!(samples >= 3, "in colours");
    let colours: Vec<[u8; 3]> = pixels[..info.buffer_size()].chunks_exact(samples).map(|p| [p[0], p[1], p[2]]).collect();
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for colour in &colours {
        *counts.entry(*colour).or_default() += 1;
    }
    let mut palette: Vec<_> = counts.into_iter().collect();
    palette.sort_by_key(|(colour, n)| (std::cmp::Reverse(*n), *colour));
    let all: Vec<[u8; 3]> = palette.iter().map(|(colour, _)| *colour).collect();
    let kept = &all[..all.len().min(256)];
    let distance = |a: &[u8; 3], b: &[u8; 3]| a.iter().zip(b).map(|(a, b)| i32::from(*a) - i32::from(*b)).map(|d| d * d).sum::<i32>();
    let nearest = |colour: &[u8; 3]| kept.iter().enumerate().min_by_key(|(_, other)| distance(colour, other)).map_or(0, |(n, _)| n as u8);
    let index: HashMap<[u8; 3], u8> = all.iter().map(|colour| (*colour, nearest(colour))).collect();
    let indexed: Vec<u8> = colours.iter().map(|colour| index[colour]).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, info.width, info.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(kept.concat());
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&indexed).expect("a picture");
    writer.finish().expect("an end");
    file
}
