//! Content codings: bodies that came compressed (RFC 9110, section 8.4.1).

use std::io::Read;

/// The greatest window of a Zstandard frame, in bytes: what every decoder should
/// take (RFC 8878, section 3.1.1.1.2).
const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// A coding that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` (RFC 1952).
    Gzip,
    /// `deflate` (RFC 1950), also without the frame that it should have (RFC 1951).
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// What came out of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// At most so many bytes as were wanted.
    pub bytes: Vec<u8>,
    /// Whether what came is not, or not to its end, in this coding. Unknown
    /// where there was more than was wanted.
    pub is_broken: bool,
}

impl Coding {
    /// The coding of a name in `content-encoding`.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Decodes the first `limit` bytes of what `coded` stands for.
    pub fn decode(self, coded: &[u8], limit: usize) -> Decoded {
        match self {
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(coded), limit),
            Self::Deflate => {
                let framed = read(flate2::read::ZlibDecoder::new(coded), limit);
                if framed.is_broken && framed.bytes.is_empty() {
                    return read(flate2::read::DeflateDecoder::new(coded), limit);
                }
                framed
            }
            Self::Brotli => read(brotli_decompressor::Decompressor::new(coded, 4_096), limit),
            Self::Zstd => {
                let mut frames = ruzstd::decoding::FrameDecoder::new();
                // A frame says how far back it looks, and so much is in memory first.
                frames.set_max_window_size(MAX_WINDOW);
                match ruzstd::decoding::StreamingDecoder::new_with_decoder(coded, frames) {
                    Ok(decoder) => read(decoder, limit),
                    Err(_) => Decoded { bytes: Vec::new(), is_broken: true },
                }
            }
        }
    }
}

fn read(decoder: impl Read, limit: usize) -> Decoded {
    let mut bytes = Vec::new();
    let read = decoder.take(limit as u64).read_to_end(&mut bytes);
    Decoded { bytes, is_broken: read.is_err() }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("is written");
        encoder.finish().expect("is written")
    }

    #[test]
    fn every_coding_is_decoded() {
        let text = b"{\"ok\":true}".repeat(20);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(&text).expect("is written");
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        deflate.write_all(&text).expect("is written");
        let zstd =
            ruzstd::encoding::compress_to_vec(text.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        for (name, coded) in [
            ("gzip", gzip(&text)),
            ("X-GZIP ", gzip(&text)),
            ("deflate", zlib.finish().expect("is written")),
            ("deflate", deflate.finish().expect("is written")),
            ("zstd", zstd),
        ] {
            let decoded = Coding::named(name).expect("is known").decode(&coded, 10_000);
            assert_eq!(decoded, Decoded { bytes: text.clone(), is_broken: false }, "{name}");
        }
        // "hello" as the reference program writes it.
        let brotli = [0x0b, 0x02, 0x80, b'h', b'e', b'l', b'l', b'o', 0x03];
        assert_eq!(
            Coding::Brotli.decode(&brotli, 100),
            Decoded { bytes: b"hello".to_vec(), is_broken: false }
        );
        assert_eq!(Coding::named("compress"), None);
    }

    #[test]
    fn no_more_comes_out_than_is_wanted() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert_eq!(Coding::Gzip.decode(&bomb, 100).bytes.len(), 100);
        // A frame that wants 128 MiB to look back in, and one block of zeros.
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x03, 0x00, 0x10, 0x00];
        assert_eq!(Coding::Zstd.decode(&wide, 100), Decoded { bytes: Vec::new(), is_broken: true });
    }

    #[test]
    fn what_is_broken_is_told_and_gives_what_came_before() {
        let mut cut = gzip(&(0..=255).collect::<Vec<u8>>());
        cut.truncate(100);
        let decoded = Coding::Gzip.decode(&cut, 1_000);
        assert!(decoded.is_broken);
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            assert!(coding.decode(b"this is not compressed at all", 1_000).is_broken, "{coding:?}");
        }
    }
}
