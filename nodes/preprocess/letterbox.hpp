// Turns a camera image into a network input in one pass: scaled with its aspect kept, centred,
// padded, RGB; or in a corner, stretched or cropped, where a model wants that.
//
// It reads the camera's slot and writes the tensor's slot directly, so that a frame's pixels are
// written exactly once. The live node, calibration, verification and the benches all use this one
// class; a model is only as accurate as its preprocessing is the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "msgs/tensor.hpp"
#include "nodes/base/input_spec.hpp"
#include "nodes/base/result.hpp"
#include "nodes/preprocess/image_view.hpp"

namespace fovea {

struct LetterboxOptions {
  std::uint32_t network_width = 640;
  std::uint32_t network_height = 640;
  ResizeMode resize = ResizeMode::kLetterbox;
  std::uint8_t pad = 114;     // value of every channel outside the scaled image
  bool force_scalar = false;  // the readable path; also with FOVEA_ISA=scalar in the environment
};

// Letterboxes and kStretch: bilinear with half-pixel centres and 11-bit weights, within 1 of
// cv::resize(INTER_LINEAR) on every byte. kCentreCrop and kStretchAntialiased: the bytes of PIL's
// bilinear, which averages all pixels of a reduction.
// How sizes, padding and crop are rounded: see place().
//
// Thread safety: one thread at a time; `transform` and `parameters` from any thread. `run`
// allocates only when it meets a source size for the first time (the newest kMaxPlans sizes are
// remembered).
class Letterbox {
 public:
  static constexpr std::uint32_t kMaxSide = 32768;  // of source and network, in pixels
  static constexpr std::size_t kMaxPlans = 32;

  // Errors: kInvalidArgument for a network side outside 1..kMaxSide or a mode that is none.
  static Result<Letterbox> create(const LetterboxOptions& options);

  Letterbox(Letterbox&&) noexcept;
  Letterbox& operator=(Letterbox&&) noexcept;
  ~Letterbox();

  // Where an image of this size is placed. For a side outside 1..kMaxSide the result is not
  // valid().
  msgs::LetterboxTransform transform(std::uint32_t source_width, std::uint32_t source_height) const;

  // Takes every encoding; those that the kernels do not read become RGB a row at a time. Writes u8
  // [network_height, network_width, 3] RGB, dense, to the first output_bytes() of
  // `destination` and nothing beyond; every byte is written exactly once, save a few at the edge of
  // the padding. Errors: kInvalidArgument if the image does not fit its own pixels or `destination`
  // is too small.
  Result<msgs::LetterboxTransform> run(const ImageView& source, std::span<std::byte> destination);

  std::size_t output_bytes() const;

  // Canonical text of everything that changes the output, for engine cache keys:
  // `letterbox 640x640 pad 114 bilinear rgb u8`, `stretch 640x640 bilinear rgb u8`,
  // `centre_crop 224x224 antialiased bilinear rgb u8`.
  std::string parameters() const;

 private:
  struct State;
  explicit Letterbox(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace fovea
