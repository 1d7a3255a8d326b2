// Addresses and steps. Choosing is choice.cpp's part, sharing between tensors placement.cpp's.
#include "nodes/detector/engine/cpu/compiler.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "nodes/detector/engine/cpu/blocked_ops.hpp"
#include "nodes/detector/engine/cpu/choice.hpp"
#include "nodes/detector/engine/cpu/placement.hpp"
#include "nodes/detector/engine/passes/memory_plan.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::cpu {

namespace {

std::size_t bytes_of(const Value& value) {
  return static_cast<std::size_t>(volume(value.dims)) * element_size(value.dtype);
}

std::int64_t pixels_of(const Dims& dims) { return dims[2] * dims[3]; }

// Buffers whose steps do not overlap share addresses.
void plan_arena(Program& program) {
  constexpr Lifetime kNever{1, 0};
  std::vector<BufferRequest> requests;
  for (const std::size_t bytes : program.buffer_bytes) requests.push_back({bytes, kNever});
  for (std::size_t step = 0; step < program.steps.size(); ++step) {
    for (const auto* buffers : {&program.steps[step].reads, &program.steps[step].writes}) {
      for (const std::int32_t buffer : *buffers) {
        Lifetime& life = requests[static_cast<std::size_t>(buffer)].lifetime;
        if (life.first > life.last) life.first = step;  // steps come in order
        life.last = step;
      }
    }
  }
  MemoryPlan plan = plan_memory(requests);
  program.buffer_offsets = std::move(plan.offsets);
  program.arena_bytes = plan.total;
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
    plan_arena(program_);
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
    program_.buffer_bytes.push_back(bytes);
    return static_cast<std::int32_t>(program_.buffer_bytes.size() - 1);
  }

  // Where the blocked form of a value lies, whether or not it is written yet.
  Location blocked_address(ValueId id) {
    const Placement::Position position = placement_.find(id);
    std::int32_t& buffer = root_buffers_[static_cast<std::size_t>(position.root)];
    if (buffer < 0) {
      buffer =
          new_buffer(static_cast<std::size_t>(placement_.blocks(position.root)) * block_bytes(id));
    }
    return {buffer, static_cast<std::size_t>(position.block) * block_bytes(id)};
  }
  Location planar_address(ValueId id) {
    auto& location = planar_[static_cast<std::size_t>(id)];
    if (!location) location = Location{new_buffer(bytes_of(network_.value(id))), 0};
    return *location;
  }

  void add_step(std::string layer, std::string implementation, std::vector<Location> reads,
                std::vector<Location> writes, std::function<Runner(const Frame&)> bind) {
    Step step{std::move(layer), std::move(implementation), {}, {}, std::move(bind)};
    for (const Location& location : reads) step.reads.push_back(location.buffer);
    for (const Location& location : writes) step.writes.push_back(location.buffer);
    program_.steps.push_back(std::move(step));
  }

  // A step that runs `body(frame)` on the frame it is bound to.
  template <class Body>
  void add_loop(std::string layer, std::string implementation, std::vector<Location> reads,
                std::vector<Location> writes, Body body) {
    add_step(std::move(layer), std::move(implementation), std::move(reads), std::move(writes),
             [body = std::make_shared<const Body>(std::move(body))](const Frame& frame) -> Runner {
               return [body, &frame] {
                 (*body)(frame);
                 return true;
               };
             });
  }

  void mark_blocked(ValueId id) { blocked_[static_cast<std::size_t>(id)] = true; }

  // The value's blocked form, converted if its producer wrote it planar.
  Location use_blocked(ValueId id) {
    const Location to = blocked_address(id);
    if (blocked_[static_cast<std::size_t>(id)]) return to;
    const Location from = use_planar(id);
    add_loop(network_.value(id).name, "planar to blocked", {from}, {to},
             [from, to, layout = form(id).layout, pixels = pixels_of(dims(id)),
              block = block_](const Frame& frame) {
               planar_to_blocked(frame.at(from), frame.at(to), layout.logical, pixels, block);
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
      add_loop(value.name, "copy", {}, {to},
               [to, constant = value.constant, bytes](const Frame& frame) {
                 std::memcpy(frame.at(to), constant->bytes.data(), bytes);
               });
    } else if (!blocked_[static_cast<std::size_t>(id)]) {  // nobody wrote it: the network's input
      add_loop(value.name, "copy", {}, {to},
               [to, bytes](const Frame& frame) { std::memcpy(frame.at(to), frame.input, bytes); });
    } else {
      const Location from = blocked_address(id);
      add_loop(value.name, "blocked to planar", {from}, {to},
               [from, to, layout = form(id).layout, pixels = pixels_of(value.dims),
                block = block_](const Frame& frame) {
                 blocked_to_planar(frame.at(from), frame.at(to), layout.logical, pixels, block);
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
    add_loop(layer.name, "u8 to planar f32", {}, {to},
             [to, pixels = pixels_of(dims(output))](const Frame& frame) {
               image_to_planar(static_cast<const std::uint8_t*>(frame.input), frame.at(to), pixels);
             });
  }

  void emit_kernel(const Layer& layer, const Choice& choice) {
    std::vector<Location> inputs;
    for (std::size_t i = 0; i < choice.inputs.size(); ++i) {
      const bool planar = i == 0 && choice.planar_source;
      inputs.push_back(planar ? use_planar(choice.inputs[i]) : use_blocked(choice.inputs[i]));
    }
    const Location output = blocked_address(layer.outputs[0]);
    program_.scratchpad_bytes = std::max(program_.scratchpad_bytes, choice.kernel.scratchpad_bytes);
    add_step(layer.name, choice.kernel.implementation, inputs, {output},
             [bind = choice.kernel.bind, inputs, output](const Frame& frame) {
               return bind(frame, inputs, output);
             });
    mark_blocked(layer.outputs[0]);
  }

  void emit_resize(const Layer& layer, const Choice& choice) {
    const ValueId input = layer.inputs[0];
    const Location from = use_blocked(input);
    const Location to = blocked_address(layer.outputs[0]);
    add_loop(layer.name, "nearest", {from}, {to},
             [from, to, rows = choice.rows, columns = choice.columns, blocks = blocks(input),
              block = block_, height = dims(input)[2], width = dims(input)[3]](const Frame& frame) {
               resize_nearest(frame.at(from), frame.at(to), blocks, block, height, width, rows,
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
    add_loop(layer.name, "add", {a, b}, {to}, [a, b, to, count](const Frame& frame) {
      add(frame.at(a), frame.at(b), frame.at(to), count);
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
    add_loop(name, "copy channels", {start}, {to},
             [start, to, source, pixels, block = block_](const Frame& frame) {
               gather_channels(frame.at(start), frame.at(to), source, pixels, block);
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

  // The oracle's kernel on tensors of the context's own, copied in and out: slow, but runs
  // everything.
  Result<> emit_reference(const Layer& layer);

  void emit_output(std::size_t index) {
    const ValueId id = network_.outputs[index];
    const Value& value = network_.value(id);
    // Maps of a detect head leave as [H, W, C]; everything else as it is.
    if (!outputs_channels_last(network_.head) || value.dims.size() != 4) {
      const Location from = use_planar(id);
      add_loop(value.name, "copy", {from}, {},
               [from, index, bytes = bytes_of(value)](const Frame& frame) {
                 std::memcpy(frame.outputs[index], frame.at(from), bytes);
               });
      return;
    }
    const std::int64_t pixels = pixels_of(value.dims);
    const std::int64_t channels = value.dims[1];
    if (blocked_[static_cast<std::size_t>(id)]) {
      const Location from = blocked_address(id);
      add_loop(value.name, "blocked to [H, W, C]", {from}, {},
               [from, index, pixels, channels, block = block_,
                layout = form(id).layout](const Frame& frame) {
                 blocked_to_interleaved(frame.at(from), static_cast<float*>(frame.outputs[index]),
                                        layout.logical, pixels, block, channels);
               });
    } else {
      const Location from = use_planar(id);
      add_loop(value.name, "planar to [H, W, C]", {from}, {},
               [from, index, pixels, channels](const Frame& frame) {
                 planar_to_interleaved(frame.at(from), static_cast<float*>(frame.outputs[index]),
                                       pixels, channels);
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
  Program program_;
};

// One context's copy of a layer that runs on the reference operator.
struct ReferenceLayer {
  struct Link {
    reference::Tensor tensor;
    Location location;
    bool in_arena = false;  // otherwise a constant
  };
  Layer layer;
  std::vector<Link> inputs;  // by layer.inputs, then the residual
  std::vector<Link> outputs;
  reference::Kernel kernel;

  Result<> prepare() {
    reference::Operands operands;
    operands.layer = &layer;
    for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
      operands.inputs.push_back(layer.inputs[i] == kNoValue ? nullptr : &inputs[i].tensor);
    }
    for (Link& output : outputs) operands.outputs.push_back(&output.tensor);
    if (layer.residual != kNoValue) operands.residual = &inputs.back().tensor;
    FOVEA_ASSIGN(kernel, reference::prepare(operands));
    return {};
  }

  bool run(const Frame& frame) {
    for (Link& input : inputs) {
      if (!input.in_arena) continue;
      std::memcpy(input.tensor.bytes.data(), frame.at<std::byte>(input.location),
                  input.tensor.bytes.size());
    }
    if (!kernel()) return false;
    for (const Link& output : outputs) {
      std::memcpy(frame.at<std::byte>(output.location), output.tensor.bytes.data(),
                  output.tensor.bytes.size());
    }
    return true;
  }
};

Result<> Compiler::emit_reference(const Layer& layer) {
  ReferenceLayer prototype;
  prototype.layer = layer;
  std::vector<Location> reads;
  std::vector<Location> writes;
  std::vector<ValueId> inputs = layer.inputs;
  if (layer.residual != kNoValue) inputs.push_back(layer.residual);
  for (const ValueId id : inputs) {
    ReferenceLayer::Link link;
    if (id != kNoValue && network_.value(id).constant) {
      link.tensor = *network_.value(id).constant;
    } else if (id != kNoValue) {
      link.location = use_planar(id);
      link.in_arena = true;
      link.tensor = Constant::make(network_.value(id).dtype, dims(id));
      reads.push_back(link.location);
    }
    prototype.inputs.push_back(std::move(link));
  }
  for (const ValueId id : layer.outputs) {
    ReferenceLayer::Link link;
    link.location = planar_address(id);
    link.in_arena = true;
    link.tensor = Constant::make(network_.value(id).dtype, dims(id));
    writes.push_back(link.location);
    prototype.outputs.push_back(std::move(link));
  }
  {
    ReferenceLayer trial =
        prototype;  // a layer that cannot be prepared must be refused now, not when bound
    if (auto ready = trial.prepare(); !ready) return fail(ready.error().with_context(layer.name));
  }
  add_step(layer.name, "reference", reads, writes, [prototype](const Frame& frame) -> Runner {
    auto bound = std::make_shared<ReferenceLayer>(prototype);
    if (!bound->prepare()) return [] { return false; };
    return [bound, &frame] { return bound->run(frame); };
  });
  return {};
}

}  // namespace

Result<Program> compile(const NetworkDefinition& network, std::int64_t block) {
  return Compiler(network, block).run();
}

}  // namespace fovea::engine::cpu
