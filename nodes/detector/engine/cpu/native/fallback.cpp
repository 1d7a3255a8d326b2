// See fallback.hpp. Every tensor that the reference works on is a row-major copy of the context's
// own.
#include "nodes/detector/engine/cpu/native/fallback.hpp"

#include <cstring>
#include <optional>
#include <utility>

#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::native {

namespace {

// element(index in [C, H, W], index in the picture) for every element.
template <class Element>
void for_each_element(const Dims& dims, const kernels::Surface& surface, Element&& element) {
  std::int64_t planar = 0;
  for (std::int64_t c = 0; c < dims[1]; ++c) {
    for (std::int64_t y = 0; y < dims[2]; ++y) {
      for (std::int64_t x = 0; x < dims[3]; ++x) {
        element(planar++, y * surface.row_stride + x * surface.pixel_stride + c);
      }
    }
  }
}

void to_planar(const Dims& dims, const kernels::Surface& surface, const void* from, float* to) {
  for_each_element(dims, surface, [&](std::int64_t planar, std::int64_t at) {
    to[planar] = kernels::load_element(from, surface.type, surface.grid, at);
  });
}

struct Link {
  std::shared_ptr<const Constant> known;  // or:
  DataType dtype = DataType::kFloat32;
  Dims dims;
  std::optional<kernels::Surface> picture;
};

class ReferenceFallback final : public Fallback {
 public:
  Result<> prepare(const Layer& layer, const std::vector<std::optional<Link>>& inputs,
                   const std::vector<Link>& outputs) {
    layer_ = layer;
    reference::Operands operands;
    operands.layer = &layer_;
    tensors_.reserve(inputs.size() + outputs.size());
    for (const std::optional<Link>& link : inputs) {
      const Constant* tensor = nullptr;
      if (link && link->known) {
        tensor = link->known.get();
        known_.push_back(link->known);
      } else if (link) {
        tensor = add(*link, true);
      }
      operands.inputs.push_back(tensor);
    }
    if (layer.residual != kNoValue) {
      operands.residual = operands.inputs.back();
      operands.inputs.pop_back();
    }
    for (const Link& link : outputs) operands.outputs.push_back(add(link, false));
    FOVEA_ASSIGN(kernel_, reference::prepare(operands));
    return {};
  }

  Result<> run(const kernels::Arguments& arguments) override {
    std::size_t source = 0;
    for (Bound& bound : tensors_) {
      if (!bound.source) continue;
      const void* from = arguments.sources[source++];
      if (bound.picture) {
        to_planar(bound.tensor->dims, *bound.picture, from, bound.tensor->data<float>());
      } else {
        std::memcpy(bound.tensor->bytes.data(), from, bound.tensor->bytes.size());
      }
    }
    FOVEA_TRY(kernel_());
    std::size_t destination = 0;
    for (const Bound& bound : tensors_) {
      if (bound.source) continue;
      void* to = arguments.destinations[destination++];
      if (bound.picture) {
        const float* from = bound.tensor->data<float>();
        for_each_element(bound.tensor->dims, *bound.picture,
                         [&](std::int64_t planar, std::int64_t at) {
                           kernels::store_element(to, bound.picture->type, bound.picture->grid, at,
                                                  from[planar]);
                         });
      } else {
        std::memcpy(to, bound.tensor->bytes.data(), bound.tensor->bytes.size());
      }
    }
    return {};
  }

 private:
  struct Bound {
    std::unique_ptr<Constant> tensor;
    std::optional<kernels::Surface> picture;
    bool source = false;
  };

  Constant* add(const Link& link, bool source) {
    auto tensor = std::make_unique<Constant>(Constant::make(link.dtype, link.dims));
    tensors_.push_back({std::move(tensor), link.picture, source});
    return tensors_.back().tensor.get();
  }

  Layer layer_;
  std::vector<std::shared_ptr<const Constant>> known_;
  std::vector<Bound> tensors_;
  reference::Kernel kernel_;
};

class ReferenceFactory final : public FallbackFactory {
 public:
  ReferenceFactory(Layer layer, std::vector<std::optional<Link>> inputs, std::vector<Link> outputs)
      : layer_(std::move(layer)), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  Result<std::unique_ptr<Fallback>> create() const override {
    auto fallback = std::make_unique<ReferenceFallback>();
    if (auto ready = fallback->prepare(layer_, inputs_, outputs_); !ready) {
      return fail(ready.error().with_context(layer_.name));
    }
    return fallback;
  }

 private:
  Layer layer_;
  std::vector<std::optional<Link>> inputs_;  // then the residual, if there is one
  std::vector<Link> outputs_;
};

class PlanarCopy final : public kernels::Kernel {
 public:
  PlanarCopy(const Value& value, bool picture, const kernels::Surface& from)
      : dims_(value.dims),
        bytes_(static_cast<std::size_t>(volume(value.dims)) * element_size(value.dtype)),
        picture_(picture),
        from_(from) {}

  std::string_view implementation() const override { return picture_ ? "to planar" : "copy"; }
  std::size_t scratch_bytes(int /*threads*/) const override { return 0; }
  void run(const kernels::Arguments& arguments, cpu::ThreadPool& /*pool*/) const override {
    if (picture_) {
      to_planar(dims_, from_, arguments.sources[0], static_cast<float*>(arguments.destinations[0]));
    } else {
      std::memcpy(arguments.destinations[0], arguments.sources[0], bytes_);
    }
  }

 private:
  Dims dims_;
  std::size_t bytes_;
  bool picture_;
  kernels::Surface from_;
};

}  // namespace

Result<std::unique_ptr<const FallbackFactory>> make_fallback(const NetworkDefinition& network,
                                                             const Layer& layer,
                                                             const KnownValues& known,
                                                             Storage& storage) {
  for (const ValueId id : layer.inputs) {
    const Constant* constant = id == kNoValue ? nullptr : network.value(id).constant.get();
    if (constant != nullptr && constant->packed()) {  // a forged plan's
      return fail(ErrorCode::kUnsupported, layer.name + " has packed weights and no kernel");
    }
  }
  const auto link = [&](ValueId id) {
    const Value& value = network.value(id);
    Link result{known[static_cast<std::size_t>(id)], value.dtype, value.dims, {}};
    if (!result.known && storage.is_picture(id)) result.picture = storage.home(id).surface;
    return result;
  };
  std::vector<std::optional<Link>> inputs;
  for (const ValueId id : layer.inputs) {
    inputs.push_back(id == kNoValue ? std::nullopt : std::optional<Link>(link(id)));
  }
  if (layer.residual != kNoValue) inputs.emplace_back(link(layer.residual));
  std::vector<Link> outputs;
  for (const ValueId id : layer.outputs) {
    outputs.push_back(link(id));
    outputs.back().known = nullptr;
  }
  auto factory =
      std::make_unique<const ReferenceFactory>(layer, std::move(inputs), std::move(outputs));
  FOVEA_TRY(factory->create());  // refuse now what a context would refuse
  return factory;
}

std::unique_ptr<const kernels::Kernel> make_planar_copy(const Value& value, bool picture,
                                                        const kernels::Surface& from) {
  return std::make_unique<PlanarCopy>(value, picture, from);
}

}  // namespace fovea::engine::native
