#include "nodes/detector/engine/provider.hpp"

#include <cstdint>
#include <new>

#include <fmt/core.h>

namespace fovea::engine {

Result<EngineInfo> describe_engine(const NetworkDefinition& lowered, std::string_view provider,
                                   const EngineOptions& options) {
  if (options.max_batch < 1 || options.threads < 1) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("max_batch is {} and threads {}; both must be at least 1",
                            options.max_batch, options.threads));
  }
  NetworkDefinition shaped = lowered;
  FOVEA_TRY(infer_shapes(shaped, 1));
  if (shaped.inputs.size() != 1) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the network has {} inputs; it must have 1", shaped.inputs.size()));
  }
  const auto spec_of = [&](ValueId id, bool channels_last) -> Result<TensorSpec> {
    const Value& value = shaped.value(id);
    if (value.dims.empty() || value.dims[0] != 1) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("'{}' has no batch axis: it is {} for one picture; its first extent "
                              "must be the batch",
                              value.name, to_string(value.dims)));
    }
    if (volume(value.dims) == 0) {
      return fail(ErrorCode::kUnsupported, fmt::format("'{}' is {}, which holds nothing",
                                                       value.name, to_string(value.dims)));
    }
    TensorSpec spec{value.name, value.dtype, Dims(value.dims.begin() + 1, value.dims.end()), 0};
    if (channels_last && spec.dims.size() == 3)
      spec.dims = {spec.dims[1], spec.dims[2], spec.dims[0]};
    spec.bytes = static_cast<std::size_t>(volume(spec.dims)) * element_size(spec.dtype);
    return spec;
  };
  EngineInfo info;
  info.provider = provider;
  info.precision = options.precision;
  FOVEA_ASSIGN(info.input, spec_of(shaped.inputs[0], false));
  if (info.input.dtype != DataType::kUint8 || info.input.dims.size() != 3 ||
      info.input.dims[2] != 3) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("input '{}' is {} {}; it must be uint8 [height, width, 3]", info.input.name,
                    to_string(info.input.dtype), to_string(info.input.dims)));
  }
  for (const ValueId id : shaped.outputs) {
    FOVEA_ASSIGN(TensorSpec spec,
                 spec_of(id, lowered.head.spec.channels_last(shaped.value(id).name)));
    info.outputs.push_back(std::move(spec));
  }
  info.picture = lowered.picture;
  info.head = lowered.head;
  info.class_names = lowered.class_names;
  info.max_batch = options.max_batch;
  info.threads = options.threads;
  info.model_hash = options.model_hash;
  return info;
}

Result<> ExecutionContext::set_input_shape(const Dims& size) {
  if (size == info().input.dims) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("the input shape is {}; this engine is for {} only", to_string(size),
                          to_string(info().input.dims)));
}

Result<> ExecutionContext::execute(std::span<const BatchItem> batch) {
  FOVEA_ASSIGN(Fence fence, enqueue(batch));
  return fence.wait();
}

Result<Bindings> Engine::make_bindings(std::size_t items) const {
  try {
    return Bindings(info(), items);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "bindings: not enough memory");
  }
}

Result<> check_batch(std::span<const BatchItem> batch, const EngineInfo& info,
                     TakesDeviceMemory device) {
  if (batch.empty() || batch.size() > static_cast<std::size_t>(info.max_batch)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the batch has {} items; it must have 1..{}", batch.size(), info.max_batch));
  }
  const auto usable = [&](const ConstMemoryView& view, const TensorSpec& spec) {
    return view.data != nullptr && view.bytes >= spec.bytes &&
           (device == TakesDeviceMemory::kYes || is_host_readable(view.kind)) &&
           reinterpret_cast<std::uintptr_t>(view.data) % kMemoryAlignment == 0;
  };
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const BatchItem& item = batch[i];
    bool good = usable(item.input, info.input) && item.outputs.size() == info.outputs.size();
    for (std::size_t k = 0; good && k < item.outputs.size(); ++k) {
      good = usable(item.outputs[k], info.outputs[k]);
    }
    if (!good) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("item {} needs an input of {} bytes and {} outputs of their bytes, each "
                              "in host memory at an address that is a multiple of {}",
                              i, info.input.bytes, info.outputs.size(), kMemoryAlignment));
    }
  }
  return {};
}

}  // namespace fovea::engine
