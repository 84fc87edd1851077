//! Recordings: what a text-to-speech program gives becomes what telephone systems play, 8 kHz mono mu-law in a WAV file.
//!
//! What is read is somebody else's: any bytes give a sound or a reason, within bounds.

use crate::limits::ACD_WAV_SECONDS_MAX;

/// Samples a second on a telephone line.
const TELEPHONE_RATE: u32 = 8000;
/// Rates that are read; below and above, nobody speaks.
const RATES: std::ops::RangeInclusive<u32> = 4000..=96_000;
/// WAVE formats: plain samples, G.711 mu-law, and the one that says in a longer header which of the others it is.
const PCM: u16 = 1;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;
/// Loudest sample of what nobody hears: 44 dB below the loudest there is.
const SILENCE: u16 = 200;
/// Of half the lower rate, what passes. The filter falls from there to nothing a little above that half.
const PASS: f64 = 0.9;
/// How far the filter reaches to either side, in samples of the lower rate: the steeper, the further.
const REACH: usize = 24;
/// Points of the filter's curve that are reckoned beforehand, for each sample of its reach.
const POINTS: usize = 256;
/// Silence in mu-law.
const QUIET: u8 = 0xff;
/// Between two announcements.
const PAUSE_SAMPLES: usize = 4000;

/// Mono, 16 bit.
#[derive(Debug)]
pub(super) struct Sound {
    rate: u32,
    samples: Vec<i16>,
}

impl Sound {
    pub(super) fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.samples.iter().all(|sample| sample.unsigned_abs() < SILENCE)
    }
}

/// Reads a WAV file of 16-bit samples, one or two channels, any usual rate. What is longer than it says, or says that it
/// is longer than it is, as a program does that writes it into a pipe, is taken as far as it goes.
pub(super) fn read(bytes: &[u8]) -> Result<Sound, String> {
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Err("it is no WAV file".to_owned());
    }
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut shape = None;
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let length = u32_at(head, 4).unwrap_or_default() as usize;
        let body = behind.get(..length).unwrap_or(behind);
        match head.get(..4) {
            Some(b"fmt ") => shape = Some(Shape::read(body)?),
            Some(b"data") => {
                let shape = shape.ok_or("its samples come before it says what they are")?;
                return shape.sound(body);
            }
            _ => {}
        }
        // Odd lengths are padded.
        rest = behind.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    Err("it has no samples".to_owned())
}

#[derive(Clone, Copy)]
struct Shape {
    n_channels: usize,
    rate: u32,
}

impl Shape {
    fn read(body: &[u8]) -> Result<Shape, String> {
        let short = "its format is cut off";
        let tag = u16_at(body, 0).ok_or(short)?;
        let channels = u16_at(body, 2).ok_or(short)?;
        let rate = u32_at(body, 4).ok_or(short)?;
        let bits = u16_at(body, 14).ok_or(short)?;
        let tag = if tag == EXTENSIBLE { u16_at(body, 24).ok_or(short)? } else { tag };
        if (tag, bits) != (PCM, 16) {
            return Err(format!("it has format {tag} of {bits} bits; plain samples of 16 bits are read"));
        }
        if !(1..=2).contains(&channels) {
            return Err(format!("it has {channels} channels; one or two are read"));
        }
        if !RATES.contains(&rate) {
            return Err(format!("it has {rate} samples a second; {} to {} are read", RATES.start(), RATES.end()));
        }
        Ok(Shape { n_channels: usize::from(channels), rate })
    }

    fn sound(self, body: &[u8]) -> Result<Sound, String> {
        let n = body.len() / (2 * self.n_channels);
        let seconds = n as u64 / u64::from(self.rate);
        if seconds > ACD_WAV_SECONDS_MAX {
            return Err(format!("it takes {seconds} s; at most {ACD_WAV_SECONDS_MAX} s are taken"));
        }
        if n == 0 {
            return Err("it has no samples".to_owned());
        }
        let value = |pair: &[u8]| i32::from(u16_at(pair, 0).unwrap_or_default().cast_signed());
        let frame = |frame: &[u8]| {
            let sum: i32 = frame.chunks_exact(2).map(value).sum();
            i16::try_from(sum / self.n_channels as i32).unwrap_or_default()
        };
        Ok(Sound { rate: self.rate, samples: body.chunks_exact(2 * self.n_channels).map(frame).collect() })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As a telephone carries it.
pub(super) fn telephone(sound: &Sound) -> Vec<u8> {
    if sound.rate == TELEPHONE_RATE {
        return sound.samples.iter().map(|sample| mu_law(*sample)).collect();
    }
    resampled(sound).into_iter().map(mu_law).collect()
}

/// At the rate of a telephone. What does not pass there would come back as another tone and is filtered out: each sample
/// is the mean of those around its time, weighed by a windowed sinc.
fn resampled(sound: &Sound) -> Vec<i16> {
    let ratio = f64::from(sound.rate) / f64::from(TELEPHONE_RATE);
    // Samples of the sound, in samples of the lower of the two rates.
    let scale = (1.0 / ratio).min(1.0);
    let curve = curve();
    let weight = |distance: f64| {
        let at = distance.abs() * scale * POINTS as f64;
        let (index, part) = (at as usize, at.fract());
        let point = |index: usize| curve.get(index).copied().unwrap_or_default();
        point(index) * (1.0 - part) + point(index + 1) * part
    };
    let reach = REACH as f64 / scale;
    let n = (sound.samples.len() as f64 / ratio) as usize;
    let sample = |i: usize| {
        let time = i as f64 * ratio;
        let first = (time - reach).ceil().max(0.0) as usize;
        let around = sound.samples.iter().enumerate().skip(first).take((2.0 * reach) as usize + 1);
        let (sum, weights) = around.fold((0.0, 0.0), |(sum, weights), (k, sample)| {
            let weight = weight(k as f64 - time);
            (sum + weight * f64::from(*sample), weights + weight)
        });
        // Saturates. The centre of the curve is among the weights, so their sum is not 0.
        (sum / weights).round() as i16
    };
    (0..n).map(sample).collect()
}

/// Half of the filter's curve, from its middle: a sinc under a Blackman window.
fn curve() -> Vec<f64> {
    use std::f64::consts::PI;
    let n = REACH * POINTS;
    let point = |i: usize| {
        let (x, across) = (i as f64 / POINTS as f64 * PASS * PI, i as f64 / n as f64 * PI);
        let sinc = if i == 0 { 1.0 } else { x.sin() / x };
        sinc * (0.42 + 0.5 * across.cos() + 0.08 * (2.0 * across).cos())
    };
    (0..=n).map(point).collect()
}

/// G.711: a sign, the octave, and four bits of where in it.
fn mu_law(sample: i16) -> u8 {
    const BIAS: u16 = 0x84;
    const LOUDEST: u16 = 32_635;
    let magnitude = sample.unsigned_abs().min(LOUDEST) + BIAS;
    // The bias makes it 132 or more, and the clip less than 2^15: the octave is 0 to 7.
    let octave = (magnitude >> 7).ilog2();
    let step = (magnitude >> (octave + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | ((octave as u16) << 4) | step) as u8
}

/// Several recordings one after the other, with pauses between them.
pub(super) fn joined(recordings: &[&[u8]]) -> Vec<u8> {
    recordings.join(&[QUIET; PAUSE_SAMPLES][..])
}

/// A WAV file of these samples.
pub(super) fn file(samples: &[u8]) -> Vec<u8> {
    let n = samples.len() as u32;
    let n_padded = n + n % 2;
    let mut file = Vec::with_capacity(HEAD_BYTES + samples.len() + 1);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(HEAD_BYTES as u32 - 8 + n_padded).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x12\0\0\0");
    file.extend_from_slice(&MU_LAW.to_le_bytes());
    file.extend_from_slice(b"\x01\0");
    // A byte a sample: the rates of both are the same.
    file.extend_from_slice(&TELEPHONE_RATE.to_le_bytes());
    file.extend_from_slice(&TELEPHONE_RATE.to_le_bytes());
    file.extend_from_slice(b"\x01\0\x08\0\0\0fact\x04\0\0\0");
    file.extend_from_slice(&n.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&n.to_le_bytes());
    file.extend_from_slice(samples);
    file.resize(HEAD_BYTES + n_padded as usize, 0);
    file
}

/// Bytes before the samples.
const HEAD_BYTES: usize = 58;

/// The samples of a file that [`file()`] made, or `None` where it is another or damaged.
pub(super) fn samples(bytes: &[u8]) -> Option<&[u8]> {
    let n = u32_at(bytes, HEAD_BYTES - 4)? as usize;
    let samples = bytes.get(HEAD_BYTES..HEAD_BYTES.checked_add(n)?)?;
    (!samples.is_empty() && file(samples) == bytes).then_some(samples)
}

/// Any bytes are a sound within bounds, or refused with a reason; a sound becomes a file that is read again.
#[cfg(any(test, feature = "fuzzing"))]
pub fn any_wav_is_converted_or_refused(bytes: &[u8]) {
    let Ok(sound) = read(bytes) else { return };
    assert!(sound.seconds() < (ACD_WAV_SECONDS_MAX + 1) as f64 && !sound.samples.is_empty());
    let told = telephone(&sound);
    let n = sound.seconds() * f64::from(TELEPHONE_RATE);
    assert!((told.len() as f64 - n).abs() <= 1.0, "{} samples for {n}", told.len());
    if !told.is_empty() {
        assert_eq!(samples(&file(&told)), Some(&told[..]));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// G.711 the other way.
    fn heard(byte: u8) -> i16 {
        let byte = !byte;
        let magnitude = (((i32::from(byte & 0x0f) << 3) + 0x84) << ((byte >> 4) & 7)) - 0x84;
        (if byte & 0x80 != 0 { -magnitude } else { magnitude }) as i16
    }

    /// A WAV file as programs write it.
    pub(crate) fn pcm(rate: u32, n_channels: u16, samples: &[i16]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
        file.extend(n_channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend((rate * 2 * u32::from(n_channels)).to_le_bytes());
        file.extend((2 * n_channels).to_le_bytes());
        file.extend(b"\x10\0data");
        file.extend((samples.len() as u32 * 2).to_le_bytes());
        file.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        file
    }

    /// Of a recording.
    pub(crate) fn seconds(samples: &[u8]) -> f64 {
        samples.len() as f64 / f64::from(TELEPHONE_RATE)
    }

    pub(crate) fn tone(rate: u32, hertz: f64, seconds: f64) -> Vec<i16> {
        let n = (f64::from(rate) * seconds) as usize;
        let sample = |i: usize| (10_000.0 * (i as f64 / f64::from(rate) * hertz * std::f64::consts::TAU).sin()) as i16;
        (0..n).map(sample).collect()
    }

    fn rms(samples: &[i16]) -> f64 {
        (samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    /// Of a sound of this tone, resampled: the middle, away from both ends.
    fn middle(rate: u32, hertz: f64) -> Vec<i16> {
        let sound = read(&pcm(rate, 1, &tone(rate, hertz, 0.5))).unwrap();
        resampled(&sound)[1000..3000].to_vec()
    }

    #[test]
    fn mu_law_is_that_of_g_711() {
        // Ends of the octaves, as the recommendation's table has them.
        for (sample, byte) in [
            (0, 0xff),
            (-1, 0x7f),
            (32_767, 0x80),
            (-32_768, 0x00),
            (1000, 0xce),
            (-1000, 0x4e),
            (8, 0xfe),
            (132, 0xef),
        ] {
            assert_eq!(mu_law(sample), byte, "{sample}");
        }
        for byte in (0..=255).filter(|byte| *byte != 0x7f) {
            assert_eq!(mu_law(heard(byte)), byte);
        }
        for sample in (-32_000..32_000).step_by(7) {
            let off = (i32::from(heard(mu_law(sample))) - i32::from(sample)).abs();
            assert!(off <= 4 + i32::from(sample).abs() / 30, "{sample} is off by {off}");
        }
    }

    #[test]
    fn speech_passes_as_it_is_and_what_a_telephone_cannot_carry_is_filtered_out() {
        let whole = 10_000.0 / 2f64.sqrt();
        for rate in [11_025, 16_000, 22_050, 44_100, 48_000, 96_000] {
            for hertz in [100.0, 300.0, 1000.0, 3000.0] {
                let loss = rms(&middle(rate, hertz)) / whole;
                assert!((loss - 1.0).abs() < 0.02, "{hertz} Hz at {rate}: {loss}");
            }
            for hertz in [4300.0, 5000.0, 5500.0, 7900.0, 20_000.0] {
                let loss = rms(&middle(rate, hertz)) / whole;
                assert!(loss < 0.01 || hertz * 2.0 > f64::from(rate), "{hertz} Hz at {rate}: {loss}");
            }
        }
        // A tone keeps its height: as many turns a second as before.
        let low = middle(22_050, 1000.0);
        let turns = low.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!((249..=251).contains(&turns), "{turns}");
        let slow = read(&pcm(6000, 1, &[500; 6000])).unwrap();
        assert_eq!(resampled(&slow), vec![500; 8000]);
    }

    #[test]
    fn what_programs_write_is_read_whatever_they_say_of_its_length() {
        let samples = tone(8000, 440.0, 0.2);
        let plain = pcm(8000, 1, &samples);
        let stereo: Vec<i16> = samples.iter().flat_map(|s| [*s, *s]).collect();
        let mut endless = plain.clone();
        endless[40..44].copy_from_slice(&0x7fff_f000u32.to_le_bytes());
        let mut listed = plain[..36].to_vec();
        listed.extend(b"LIST\x03\0\0\0abc\0");
        listed.extend(&plain[36..]);
        let mut extensible = plain[..16].to_vec();
        extensible.extend(40u32.to_le_bytes());
        extensible.extend(EXTENSIBLE.to_le_bytes());
        extensible.extend(&plain[22..36]);
        extensible.extend([22, 0, 16, 0, 4, 0, 0, 0]);
        extensible.extend([1, 0, 0, 0, 0, 0, 16, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
        extensible.extend(&plain[36..]);
        for file in [plain, pcm(8000, 2, &stereo), endless, listed, extensible] {
            let sound = read(&file).unwrap();
            assert_eq!((sound.rate, &sound.samples), (8000, &samples));
        }
    }

    #[test]
    fn what_is_no_speech_is_refused_with_a_reason() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err();
        assert_eq!(refused(b"<html>"), "it is no WAV file");
        assert_eq!(refused(b"RIFF\0\0\0\0WAVE"), "it has no samples");
        assert_eq!(refused(b"RIFF\0\0\0\0WAVEdata\0\0\0\0"), "its samples come before it says what they are");
        assert_eq!(refused(&pcm(8000, 1, &[])), "it has no samples");
        assert_eq!(refused(&pcm(8000, 6, &[0; 6])), "it has 6 channels; one or two are read");
        assert_eq!(refused(&pcm(192_000, 1, &[0])), "it has 192000 samples a second; 4000 to 96000 are read");
        assert_eq!(refused(&pcm(4000, 1, &vec![0; 4000 * 61])), "it takes 61 s; at most 60 s are taken");
        let mut wide = pcm(8000, 1, &[0]);
        wide[34] = 24;
        assert_eq!(refused(&wide), "it has format 1 of 24 bits; plain samples of 16 bits are read");
        assert!(read(&pcm(8000, 1, &[150; 99])).unwrap().is_silent());
        assert!(!read(&pcm(8000, 1, &tone(8000, 440.0, 0.1))).unwrap().is_silent());
    }

    #[test]
    fn a_file_is_mu_law_of_a_telephone_and_is_read_again_only_whole() {
        let made = file(&joined(&[&[1, 2, 3], &[4, 5]]));
        assert_eq!(made.len() as u32 - 8, u32_at(&made, 4).unwrap());
        assert_eq!(made.len(), HEAD_BYTES + 5 + PAUSE_SAMPLES + 1);
        assert_eq!((u16_at(&made, 20), u16_at(&made, 22), u32_at(&made, 24)), (Some(7), Some(1), Some(8000)));
        assert_eq!((u32_at(&made, 28), u16_at(&made, 32), u16_at(&made, 34)), (Some(8000), Some(1), Some(8)));
        assert_eq!(&made[HEAD_BYTES..HEAD_BYTES + 4], [1, 2, 3, QUIET]);
        let one = file(&[7; 9]);
        assert_eq!(samples(&one), Some(&[7; 9][..]));
        for n in 0..one.len() {
            assert_eq!(samples(&one[..n]), None, "cut at {n}");
        }
        assert_eq!(samples(&file(&[])), None);
    }

    #[test]
    fn any_bytes_are_converted_or_refused() {
        let whole = pcm(22_050, 2, &tone(22_050, 440.0, 0.05));
        for n in 0..whole.len() {
            any_wav_is_converted_or_refused(&whole[..n]);
        }
        for at in 0..44 {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                any_wav_is_converted_or_refused(&damaged);
            }
        }
    }
}
