// The table row function over any RegisterTable, which looks 64 bytes up at once, and Narrow, which
// loads and stores pixels of 16 or 32 channels. Included by the rows_*.cpp files inside their target
// pragma, after the vectors and those two.
#pragma once

namespace fovea::engine::kernels {
namespace {

void table_dense(const TableJob& job) {
  const RegisterTable lookup(job.table);
  const Bytes zero_point = set_bytes(static_cast<std::uint8_t>(job.residual_zero_point));
  const std::int64_t size = job.pixels * job.channels;
  for (std::int64_t i = 0; i < size; i += kByteLanes) {
    const ByteLanes lanes = first_bytes(size - i);
    Bytes code = lookup(load_bytes(job.from + i, lanes));
    if (job.residual != nullptr) {
      code = add_codes(code, load_bytes(job.residual + i, lanes), zero_point);
    }
    store_bytes(job.to + i, lanes, code);
  }
}

template <int kChannels>
void table_narrow(const TableJob& job) {
  using Pixels = Narrow<kChannels>;
  const RegisterTable lookup(job.table);
  const Bytes zero_point = set_bytes(static_cast<std::uint8_t>(job.residual_zero_point));
  for (std::int64_t pixel = 0; pixel < job.pixels; pixel += Pixels::kPixels) {
    const std::int64_t left = job.pixels - pixel;
    const std::int64_t count = left < Pixels::kPixels ? left : Pixels::kPixels;
    Bytes code = lookup(load_bytes(job.from + pixel * kChannels, first_bytes(count * kChannels)));
    if (job.residual != nullptr) {
      const std::uint8_t* residual = job.residual + pixel * job.residual_stride;
      code = add_codes(code, Pixels::load(residual, job.residual_stride, count), zero_point);
    }
    Pixels::store(job.to + pixel * job.to_stride, job.to_stride, count, code);
  }
}

void table(const TableJob& job) {
  if (job.repeat == 1 && job.from_stride == job.channels) {
    if (job.to_stride == job.channels &&
        (job.residual == nullptr || job.residual_stride == job.channels)) {
      return table_dense(job);
    }
    if (job.channels == 16) return table_narrow<16>(job);
    if (job.channels == 32) return table_narrow<32>(job);
  }
  const RegisterTable lookup(job.table);
  const Bytes zero_point = set_bytes(static_cast<std::uint8_t>(job.residual_zero_point));
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    const std::uint8_t* from = job.from + pixel * job.from_stride;
    const std::uint8_t* residual = job.residual + pixel * job.residual_stride;
    std::uint8_t* to = job.to + pixel * job.repeat * job.to_stride;
    for (std::int64_t channel = 0; channel < job.channels; channel += kByteLanes) {
      const ByteLanes lanes = first_bytes(job.channels - channel);
      Bytes code = lookup(load_bytes(from + channel, lanes));
      if (job.residual != nullptr) {
        code = add_codes(code, load_bytes(residual + channel, lanes), zero_point);
      }
      store_bytes(to + channel, lanes, code);
      if (job.repeat == 2) {
        store_bytes(to + job.to_stride + channel, lanes, code);
        store_bytes(to + job.to_row_stride + channel, lanes, code);
        store_bytes(to + job.to_row_stride + job.to_stride + channel, lanes, code);
      }
    }
  }
}

}  // namespace
}  // namespace fovea::engine::kernels
