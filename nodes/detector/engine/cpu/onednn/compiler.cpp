// Addresses and steps. Choosing is choice.cpp's part, sharing between tensors placement.cpp's.
#include "nodes/detector/engine/cpu/onednn/compiler.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include <omp.h>

#include "nodes/detector/engine/cpu/onednn/blocked_ops.hpp"
#include "nodes/detector/engine/cpu/onednn/choice.hpp"
#include "nodes/detector/engine/cpu/program/reference_operation.hpp"
#include "nodes/detector/engine/program/placement.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine::cpu::onednn {

namespace {

std::size_t bytes_of(const Value& value) {
  return static_cast<std::size_t>(volume(value.dims)) * element_size(value.dtype);
}

std::int64_t pixels_of(const Dims& dims) { return dims[2] * dims[3]; }

// A loop of ours as an operation. It runs on OpenMP's threads, as the library beside it does.
template <class Body>
class Loop final : public Operation {
 public:
  Loop(std::shared_ptr<const Body> body, int threads) : body_(std::move(body)), threads_(threads) {}
  Result<> run(const kernels::Arguments& arguments) override {
    omp_set_num_threads(threads_);
    (*body_)(arguments);
    return {};
  }

 private:
  std::shared_ptr<const Body> body_;
  int threads_;
};

template <class Body>
class LoopFactory final : public OperationFactory {
 public:
  explicit LoopFactory(Body body) : body_(std::make_shared<const Body>(std::move(body))) {}
  Result<std::unique_ptr<Operation>> create(int threads,
                                            const kernels::Arguments& /*fixed*/) const override {
    return std::make_unique<Loop<Body>>(body_, threads);
  }

 private:
  std::shared_ptr<const Body> body_;
};

const float* read(const kernels::Arguments& arguments, std::size_t i = 0) {
  return static_cast<const float*>(arguments.sources[i]);
}
float* write(const kernels::Arguments& arguments) {
  return static_cast<float*>(arguments.destinations[0]);
}

class Compiler {
 public:
  Compiler(const NetworkDefinition& network, std::int64_t block)
      : network_(network),
        block_(block),
        choices_(choose(network, block)),
        placement_(network.values.size()),
        in_place_(network.layers.size()),
        blocked_(network.values.size()),
        planar_(network.values.size()),
        root_buffers_(network.values.size(), -1) {}

  Result<Program> run() {
    place();
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& layer = network_.layers[i];
      for (const std::string& reason : choices_.layers[i].declined) {
        program_.declined.push_back(layer.name + ": " + reason);
      }
      FOVEA_TRY(emit(layer, i));
    }
    for (std::size_t i = 0; i < network_.outputs.size(); ++i) emit_output(i);
    place_buffers(program_, std::move(buffers_));
    return std::move(program_);
  }

 private:
  using Path = Choice::Path;

  const Form& form(ValueId id) const { return choices_.values[static_cast<std::size_t>(id)]; }
  const Dims& dims(ValueId id) const { return network_.value(id).dims; }
  std::int64_t blocks(ValueId id) const { return form(id).layout.physical() / block_; }
  std::size_t block_bytes(ValueId id) const {
    return static_cast<std::size_t>(block_ * pixels_of(dims(id))) * sizeof(float);
  }

  void place() {
    for (std::size_t id = 0; id < network_.values.size(); ++id) {
      const auto value = static_cast<ValueId>(id);
      if (form(value).blockable) placement_.add(value, blocks(value));
    }
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      if (choices_.layers[i].path == Path::kSplit) place_split(network_.layers[i], i);
    }
    for (std::size_t i = network_.layers.size(); i-- > 0;) {
      if (choices_.layers[i].path != Path::kConcat) continue;
      const Layer& layer = network_.layers[i];
      in_place_[i] = placement_.concat(layer.outputs[0], layer.inputs);
    }
  }

  void place_split(const Layer& layer, std::size_t index) {
    const ValueId input = layer.inputs[0];
    std::int64_t first = 0;
    for (const ValueId output : layer.outputs) {
      ChannelLayout part;
      std::int64_t start = 0;
      const bool whole = form(input).layout.slice(first, dims(output)[1], block_, part, start);
      if (whole) placement_.alias(output, input, start / block_);
      in_place_[index].push_back(whole);
      first += dims(output)[1];
    }
  }

  std::int32_t new_buffer(std::size_t bytes) {
    Buffer buffer;
    buffer.bytes = static_cast<std::int64_t>(bytes);
    buffers_.push_back(buffer);
    return static_cast<std::int32_t>(buffers_.size() - 1);
  }

  // Where the blocked form of a value lies, whether or not it is written yet.
  Location blocked_address(ValueId id) {
    const Placement::Position position = placement_.find(id);
    std::int32_t& buffer = root_buffers_[static_cast<std::size_t>(position.root)];
    if (buffer < 0) {
      buffer =
          new_buffer(static_cast<std::size_t>(placement_.blocks(position.root)) * block_bytes(id));
    }
    return {Location::Where::kArena, buffer,
            position.block * static_cast<std::int64_t>(block_bytes(id))};
  }
  Location planar_address(ValueId id) {
    auto& location = planar_[static_cast<std::size_t>(id)];
    if (!location)
      location = Location{Location::Where::kArena, new_buffer(bytes_of(network_.value(id))), 0};
    return *location;
  }

  void add_step(std::string layer, std::string implementation,
                std::shared_ptr<const OperationFactory> operation, std::vector<Location> sources,
                std::vector<Location> destinations) {
    Step step;
    step.layer = std::move(layer);
    step.implementation = std::move(implementation);
    step.operation = std::move(operation);
    step.sources = std::move(sources);
    step.destinations = std::move(destinations);
    program_.steps.push_back(std::move(step));
  }

  // A step that runs `body(arguments)`.
  template <class Body>
  void add_loop(std::string layer, std::string implementation, std::vector<Location> sources,
                Location destination, Body body) {
    add_step(std::move(layer), std::move(implementation),
             std::make_shared<const LoopFactory<Body>>(std::move(body)), std::move(sources),
             {destination});
  }

  void mark_blocked(ValueId id) { blocked_[static_cast<std::size_t>(id)] = true; }

  // The value's blocked form, converted if its producer wrote it planar.
  Location use_blocked(ValueId id) {
    const Location to = blocked_address(id);
    if (blocked_[static_cast<std::size_t>(id)]) return to;
    const Location from = use_planar(id);
    add_loop(network_.value(id).name, "planar to blocked", {from}, to,
             [layout = form(id).layout, pixels = pixels_of(dims(id)),
              block = block_](const kernels::Arguments& arguments) {
               planar_to_blocked(read(arguments), write(arguments), layout.logical, pixels, block);
             });
    mark_blocked(id);
    return to;
  }

  // The value's planar (row-major) form, converted if its producer wrote it blocked.
  Location use_planar(ValueId id) {
    if (const auto& location = planar_[static_cast<std::size_t>(id)]) return *location;
    const Value& value = network_.value(id);
    const Location to = planar_address(id);
    const std::size_t bytes = bytes_of(value);
    if (value.constant) {
      add_loop(value.name, "copy", {}, to,
               [constant = value.constant, bytes](const kernels::Arguments& arguments) {
                 std::memcpy(write(arguments), constant->bytes.data(), bytes);
               });
    } else if (!blocked_[static_cast<std::size_t>(id)]) {  // nobody wrote it: the network's input
      add_loop(value.name, "copy", {{Location::Where::kInput, 0, 0}}, to,
               [bytes](const kernels::Arguments& arguments) {
                 std::memcpy(write(arguments), arguments.sources[0], bytes);
               });
    } else {
      const Location from = blocked_address(id);
      add_loop(value.name, "blocked to planar", {from}, to,
               [layout = form(id).layout, pixels = pixels_of(value.dims),
                block = block_](const kernels::Arguments& arguments) {
                 blocked_to_planar(read(arguments), write(arguments), layout.logical, pixels,
                                   block);
               });
    }
    return to;
  }

  Result<> emit(const Layer& layer, std::size_t index) {
    const Choice& choice = choices_.layers[index];
    switch (choice.path) {
      case Path::kImage:
        emit_image(layer);
        return {};
      case Path::kKernel:
        emit_kernel(layer, choice);
        return {};
      case Path::kResize:
        emit_resize(layer, choice);
        return {};
      case Path::kAdd:
        emit_add(layer);
        return {};
      case Path::kConcat:
        emit_concat(layer, in_place_[index]);
        return {};
      case Path::kSplit:
        emit_split(layer, in_place_[index]);
        return {};
      case Path::kReference:
        return emit_reference(layer);
    }
    return {};
  }

  void emit_image(const Layer& layer) {
    const ValueId output = layer.outputs[0];
    const Location to = planar_address(output);
    add_loop(layer.name, "u8 to planar f32", {{Location::Where::kInput, 0, 0}}, to,
             [pixels = pixels_of(dims(output))](const kernels::Arguments& arguments) {
               image_to_planar(static_cast<const std::uint8_t*>(arguments.sources[0]),
                               write(arguments), pixels);
             });
  }

  void emit_kernel(const Layer& layer, const Choice& choice) {
    std::vector<Location> inputs;
    for (std::size_t i = 0; i < choice.inputs.size(); ++i) {
      const bool planar = i == 0 && choice.planar_source;
      inputs.push_back(planar ? use_planar(choice.inputs[i]) : use_blocked(choice.inputs[i]));
    }
    const Location output = blocked_address(layer.outputs[0]);
    add_step(layer.name, choice.kernel.implementation, choice.kernel.operation, std::move(inputs),
             {output});
    mark_blocked(layer.outputs[0]);
  }

  void emit_resize(const Layer& layer, const Choice& choice) {
    const ValueId input = layer.inputs[0];
    const Location from = use_blocked(input);
    const Location to = blocked_address(layer.outputs[0]);
    add_loop(
        layer.name, "nearest", {from}, to,
        [rows = choice.rows, columns = choice.columns, blocks = blocks(input), block = block_,
         height = dims(input)[2], width = dims(input)[3]](const kernels::Arguments& arguments) {
          resize_nearest(read(arguments), write(arguments), blocks, block, height, width, rows,
                         columns);
        });
    mark_blocked(layer.outputs[0]);
  }

  void emit_add(const Layer& layer) {
    const Location a = use_blocked(layer.inputs[0]);
    const Location b = use_blocked(layer.inputs[1]);
    const Location to = blocked_address(layer.outputs[0]);
    const std::int64_t count =
        blocks(layer.outputs[0]) * block_ * pixels_of(dims(layer.outputs[0]));
    add_loop(layer.name, "add", {a, b}, to, [count](const kernels::Arguments& arguments) {
      onednn::add(read(arguments, 0), read(arguments, 1), write(arguments), count);
    });
    mark_blocked(layer.outputs[0]);
  }

  // Physical channel i of `to`'s layout from where the same logical channel, plus `first`, lies in
  // `from`'s.
  void emit_gather(const std::string& name, ValueId from, std::int64_t first, Location to,
                   const ChannelLayout& layout, std::int64_t pixels) {
    std::vector<std::int32_t> position;
    for (std::size_t i = 0; i < form(from).layout.logical.size(); ++i) {
      const std::int32_t channel = form(from).layout.logical[i];
      if (channel < 0) continue;
      position.resize(std::max(position.size(), static_cast<std::size_t>(channel) + 1), -1);
      position[static_cast<std::size_t>(channel)] = static_cast<std::int32_t>(i);
    }
    std::vector<std::int32_t> source;
    for (const std::int32_t channel : layout.logical) {
      source.push_back(channel < 0 ? -1 : position[static_cast<std::size_t>(first + channel)]);
    }
    const Location start = use_blocked(from);
    add_loop(name, "copy channels", {start}, to,
             [source, pixels, block = block_](const kernels::Arguments& arguments) {
               gather_channels(read(arguments), write(arguments), source, pixels, block);
             });
  }

  void emit_concat(const Layer& layer, const std::vector<bool>& in_place) {
    Location to = blocked_address(layer.outputs[0]);
    for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
      const ValueId part = layer.inputs[i];
      if (in_place[i]) {
        use_blocked(part);
      } else {
        emit_gather(layer.name, part, 0, to, form(part).layout, pixels_of(dims(part)));
      }
      to.offset += static_cast<std::size_t>(blocks(part)) * block_bytes(part);
    }
    mark_blocked(layer.outputs[0]);
  }

  void emit_split(const Layer& layer, const std::vector<bool>& in_place) {
    const ValueId input = layer.inputs[0];
    use_blocked(input);
    std::int64_t first = 0;
    for (std::size_t i = 0; i < layer.outputs.size(); ++i) {
      const ValueId part = layer.outputs[i];
      if (!in_place[i]) {
        emit_gather(layer.name, input, first, blocked_address(part), form(part).layout,
                    pixels_of(dims(part)));
      }
      mark_blocked(part);
      first += dims(part)[1];
    }
  }

  // Slow, but runs everything.
  Result<> emit_reference(const Layer& layer) {
    const auto link = [&](ValueId id) {
      const Value& value = network_.value(id);
      return ReferenceLink{value.constant, value.dtype, value.dims, {}};
    };
    std::vector<ValueId> ids = layer.inputs;
    if (layer.residual != kNoValue) ids.push_back(layer.residual);
    std::vector<std::optional<ReferenceLink>> inputs;
    std::vector<Location> sources;
    for (const ValueId id : ids) {
      inputs.push_back(id == kNoValue ? std::nullopt : std::optional(link(id)));
      if (inputs.back() && !inputs.back()->known) sources.push_back(use_planar(id));
    }
    std::vector<ReferenceLink> outputs;
    std::vector<Location> destinations;
    for (const ValueId id : layer.outputs) {
      outputs.push_back(link(id));
      destinations.push_back(planar_address(id));
    }
    FOVEA_ASSIGN(auto operation,
                 make_reference_operation(layer, std::move(inputs), std::move(outputs)));
    add_step(layer.name, "reference", std::move(operation), std::move(sources),
             std::move(destinations));
    return {};
  }

  void emit_output(std::size_t index) {
    const Location to{Location::Where::kOutput, static_cast<std::int32_t>(index), 0};
    const ValueId id = network_.outputs[index];
    const Value& value = network_.value(id);
    // Maps of a detect head leave as [H, W, C]; everything else as it is.
    if (!network_.head.spec.channels_last(value.name) || value.dims.size() != 4) {
      const Location from = use_planar(id);
      add_loop(value.name, "copy", {from}, to,
               [bytes = bytes_of(value)](const kernels::Arguments& arguments) {
                 std::memcpy(write(arguments), read(arguments), bytes);
               });
      return;
    }
    const std::int64_t pixels = pixels_of(value.dims);
    const std::int64_t channels = value.dims[1];
    if (blocked_[static_cast<std::size_t>(id)]) {
      const Location from = blocked_address(id);
      add_loop(value.name, "blocked to [H, W, C]", {from}, to,
               [pixels, channels, block = block_,
                layout = form(id).layout](const kernels::Arguments& arguments) {
                 blocked_to_interleaved(read(arguments), write(arguments), layout.logical, pixels,
                                        block, channels);
               });
    } else {
      const Location from = use_planar(id);
      add_loop(value.name, "planar to [H, W, C]", {from}, to,
               [pixels, channels](const kernels::Arguments& arguments) {
                 planar_to_interleaved(read(arguments), write(arguments), pixels, channels);
               });
    }
  }

  const NetworkDefinition& network_;
  const std::int64_t block_;
  const Choices choices_;
  Placement placement_;
  std::vector<std::vector<bool>> in_place_;      // per layer, per part of a Concat or Split
  std::vector<bool> blocked_;                    // per value: its blocked form is written
  std::vector<std::optional<Location>> planar_;  // per value: its planar form, written
  std::vector<std::int32_t> root_buffers_;
  std::vector<Buffer> buffers_;
  Program program_;
};

}  // namespace

Result<Program> compile(const NetworkDefinition& network, std::int64_t block) {
  return Compiler(network, block).run();
}

}  // namespace fovea::engine::cpu::onednn
