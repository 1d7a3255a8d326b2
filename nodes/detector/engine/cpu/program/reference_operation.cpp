// Every tensor that the reference works on is a row-major copy of the context's own.
#include "nodes/detector/engine/cpu/program/reference_operation.hpp"

#include <cstring>
#include <optional>
#include <utility>

#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::cpu {

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

class ReferenceOperation final : public Operation {
 public:
  Result<> prepare(const Layer& layer, const std::vector<std::optional<ReferenceLink>>& inputs,
                   const std::vector<ReferenceLink>& outputs) {
    layer_ = layer;
    reference::Operands operands;
    operands.layer = &layer_;
    tensors_.reserve(inputs.size() + outputs.size());
    for (const std::optional<ReferenceLink>& link : inputs) {
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
    for (const ReferenceLink& link : outputs) operands.outputs.push_back(add(link, false));
    FOVEA_ASSIGN(kernel_, reference::prepare(operands));
    return {};
  }

  Result<> run(const kernels::Arguments& arguments) override {
    std::size_t source = 0;
    for (Bound& bound : tensors_) {
      if (!bound.source) continue;
      const void* from = arguments.sources[source++];
      if (bound.picture) {
        copy_to_planar(bound.tensor->dims, *bound.picture, from, bound.tensor->data<float>());
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

  Constant* add(const ReferenceLink& link, bool source) {
    auto tensor = std::make_unique<Constant>(Constant::make(link.dtype, link.dims));
    tensors_.push_back({std::move(tensor), link.picture, source});
    return tensors_.back().tensor.get();
  }

  Layer layer_;
  std::vector<std::shared_ptr<const Constant>> known_;
  std::vector<Bound> tensors_;
  reference::Kernel kernel_;
};

class ReferenceFactory final : public OperationFactory {
 public:
  ReferenceFactory(Layer layer, std::vector<std::optional<ReferenceLink>> inputs,
                   std::vector<ReferenceLink> outputs)
      : layer_(std::move(layer)), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  Result<std::unique_ptr<Operation>> create(int /*threads*/,
                                            const kernels::Arguments& /*fixed*/) const override {
    auto operation = std::make_unique<ReferenceOperation>();
    if (auto ready = operation->prepare(layer_, inputs_, outputs_); !ready) {
      return fail(ready.error().with_context(layer_.name));
    }
    return operation;
  }

 private:
  Layer layer_;
  std::vector<std::optional<ReferenceLink>> inputs_;  // then the residual, if there is one
  std::vector<ReferenceLink> outputs_;
};

}  // namespace

void copy_to_planar(const Dims& dims, const kernels::Surface& surface, const void* from,
                    float* to) {
  for_each_element(dims, surface, [&](std::int64_t planar, std::int64_t at) {
    to[planar] = kernels::load_element(from, surface.type, surface.grid, at);
  });
}

Result<std::unique_ptr<const OperationFactory>> make_reference_operation(
    const Layer& layer, std::vector<std::optional<ReferenceLink>> inputs,
    std::vector<ReferenceLink> outputs) {
  for (const auto& input : inputs) {
    if (input && input->known && input->known->packed()) {  // a forged plan's
      return fail(ErrorCode::kUnsupported, layer.name + " has packed weights and no kernel");
    }
  }
  auto factory =
      std::make_unique<const ReferenceFactory>(layer, std::move(inputs), std::move(outputs));
  FOVEA_TRY(factory->create(1, {}));  // refuse now what a context would refuse
  return factory;
}

}  // namespace fovea::engine::cpu
