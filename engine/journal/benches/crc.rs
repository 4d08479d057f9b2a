//! What integrity costs by the byte: `cargo bench -p engine-journal --bench crc`.
//!
//! CRC32C runs over each record on its own, BLAKE3 over each batch. Both are slow on little: a record of a single work
//! has about 64 bytes, the smallest batch 512, a busy pool's a few KiB, a snapshot many MiB.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const SIZES: [usize; 5] = [64, 512, 4 * 1024, 64 * 1024, 1024 * 1024];

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for size in SIZES {
        let bytes = vec![0x5A; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("crc32c", size), |bencher| {
            bencher.iter(|| crc32c::crc32c(black_box(&bytes)))
        });
        group.bench_function(BenchmarkId::new("blake3", size), |bencher| {
            bencher.iter(|| blake3::hash(black_box(&bytes)))
        });
    }
    group.finish();
}

criterion_group!(benches, checksums);
criterion_main!(benches);
