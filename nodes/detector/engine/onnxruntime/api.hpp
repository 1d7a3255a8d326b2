// The part of ONNX Runtime's C interface that the provider uses, declared by ourselves: the library
// is found at run time, and its header is not needed to build. The interface is one table of
// functions whose positions never change once they are released; a newer library only appends.
// Positions and signatures are those of API version 17 (ONNX Runtime 1.17), the oldest that is taken.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fovea::engine::onnxruntime {

inline constexpr std::uint32_t kApiVersion = 17;
inline constexpr std::size_t kApiFunctions = 276;  // of that version

// Objects of the library, opaque.
struct Status;
struct Environment;
struct Session;
struct SessionOptions;
struct RunOptions;
struct TensorValue;
struct MemoryInfo;
struct TensorShape;
struct Allocator;
struct CudaOptions;
struct TensorRtOptions;

// What OrtGetApiBase() returns.
struct ApiBase {
  const void* const* (*table)(std::uint32_t version);  // null if the library is older
  const char* (*version)();                            // "1.32.0"
};

enum LogLevel : int { kFatal = 4 };  // what fails comes back as a status, too
enum OptimizationLevel : int { kAll = 99 };
enum AllocatorKind : int { kDeviceAllocator = 0 };
enum MemoryUse : int { kDefaultMemory = 0 };

// One function of the table by its position.
template <std::size_t kPosition, class Signature>
class Function;
template <std::size_t kPosition, class Return, class... Arguments>
class Function<kPosition, Return(Arguments...)> {
 public:
  static_assert(kPosition < kApiFunctions);
  explicit Function(const void* const* table)
      : function_(reinterpret_cast<Return (*)(Arguments...)>(const_cast<void*>(table[kPosition]))) {
  }
  Return operator()(Arguments... arguments) const { return function_(arguments...); }

 private:
  Return (*function_)(Arguments...);
};

// A null status means that all went well; another one belongs to the caller.
struct Api {
  explicit Api(const void* const* table)
      : message(table),
        create_environment(table),
        open_session(table),
        create_session(table),
        run(table),
        create_session_options(table),
        set_optimization_level(table),
        set_threads(table),
        set_parallel_nodes(table),
        input_count(table),
        output_count(table),
        input_name(table),
        output_name(table),
        create_tensor(table),
        tensor_data(table),
        shape_type(table),
        shape_rank(table),
        shape_dims(table),
        tensor_shape(table),
        create_cpu_memory_info(table),
        free(table),
        default_allocator(table),
        release_status(table),
        release_memory_info(table),
        release_session(table),
        release_tensor(table),
        release_shape(table),
        release_session_options(table),
        available_providers(table),
        release_providers(table),
        append_tensorrt(table),
        create_tensorrt_options(table),
        release_tensorrt_options(table),
        append_cuda(table),
        create_cuda_options(table),
        release_cuda_options(table),
        append_openvino(table) {}

  Function<2, const char*(const Status*)> message;
  Function<3, Status*(LogLevel, const char* name, Environment**)> create_environment;
  Function<7, Status*(const Environment*, const char* file, const SessionOptions*, Session**)>
      open_session;
  Function<8, Status*(const Environment*, const void* model, std::size_t bytes,
                      const SessionOptions*, Session**)>
      create_session;
  Function<9, Status*(Session*, const RunOptions*, const char* const* input_names,
                      const TensorValue* const* inputs, std::size_t input_count,
                      const char* const* output_names, std::size_t output_count,
                      TensorValue** outputs)>
      run;
  Function<10, Status*(SessionOptions**)> create_session_options;
  Function<23, Status*(SessionOptions*, OptimizationLevel)> set_optimization_level;
  Function<24, Status*(SessionOptions*, int)> set_threads;         // inside a node
  Function<25, Status*(SessionOptions*, int)> set_parallel_nodes;  // beside each other
  Function<30, Status*(const Session*, std::size_t*)> input_count;
  Function<31, Status*(const Session*, std::size_t*)> output_count;
  Function<36, Status*(const Session*, std::size_t index, Allocator*, char**)> input_name;
  Function<37, Status*(const Session*, std::size_t index, Allocator*, char**)> output_name;
  Function<49, Status*(const MemoryInfo*, void* data, std::size_t bytes, const std::int64_t* dims,
                       std::size_t rank, int element_type, TensorValue**)>
      create_tensor;  // over the caller's memory
  Function<51, Status*(TensorValue*, void** data)> tensor_data;  // which stays the tensor's
  Function<60, Status*(const TensorShape*, int* element_type)> shape_type;
  Function<61, Status*(const TensorShape*, std::size_t*)> shape_rank;
  Function<62, Status*(const TensorShape*, std::int64_t* dims, std::size_t rank)> shape_dims;
  Function<65, Status*(const TensorValue*, TensorShape**)> tensor_shape;
  Function<69, Status*(AllocatorKind, MemoryUse, MemoryInfo**)> create_cpu_memory_info;
  Function<76, Status*(Allocator*, void*)> free;
  Function<78, Status*(Allocator**)> default_allocator;  // the library's own
  Function<93, void(Status*)> release_status;
  Function<94, void(MemoryInfo*)> release_memory_info;
  Function<95, void(Session*)> release_session;
  Function<96, void(TensorValue*)> release_tensor;
  Function<99, void(TensorShape*)> release_shape;
  Function<100, void(SessionOptions*)> release_session_options;
  Function<125, Status*(char*** names, int* count)> available_providers;
  Function<126, Status*(char** names, int count)> release_providers;
  Function<170, Status*(SessionOptions*, const TensorRtOptions*)> append_tensorrt;
  Function<171, Status*(TensorRtOptions**)> create_tensorrt_options;
  Function<174, void(TensorRtOptions*)> release_tensorrt_options;
  Function<204, Status*(SessionOptions*, const CudaOptions*)> append_cuda;
  Function<205, Status*(CudaOptions**)> create_cuda_options;
  Function<208, void(CudaOptions*)> release_cuda_options;
  Function<275, Status*(SessionOptions*, const char* const* keys, const char* const* values,
                        std::size_t count)>
      append_openvino;
};

}  // namespace fovea::engine::onnxruntime
