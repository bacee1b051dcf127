// The part of onnxruntime's C API that compare.cpp needs.
//
// libonnxruntime exports one function, OrtGetApiBase. It hands out a table of function pointers
// whose order never changes: entries are only ever added at the end, and the version that is asked
// for says how many are there. So a program may declare the few entries it calls, by position, and
// needs no header of the library. The positions are those of API version 2, which every
// onnxruntime since 1.1 offers. Where the official headers are at hand, use those instead.

#pragma once

#include <cstddef>
#include <cstdint>

#ifdef _WIN32
#define ORT_CALL __stdcall
#else
#define ORT_CALL
#endif

namespace ort {

struct Status;
struct Env;
struct Session;
struct SessionOptions;
struct MemoryInfo;
struct Value;
struct ShapeInfo;
struct Allocator;
struct ModelMetadata;

constexpr uint32_t kApiVersion = 2;
constexpr int kFloat32 = 1;           // element type
constexpr int kArenaAllocator = 1;    // kinds of memory
constexpr int kDefaultMemory = 0;
constexpr int kErrorLevel = 3;        // log: warnings are not shown

#ifdef _WIN32
using PathChar = wchar_t;
#else
using PathChar = char;
#endif

// Position in the table, return type, arguments.
#define ORT_ENTRIES(X)                                                                             \
    X(2, const char*, GetErrorMessage, (const Status*))                                            \
    X(3, Status*, CreateEnv, (int level, const char* name, Env** out))                             \
    X(7, Status*, CreateSession,                                                                   \
      (const Env*, const PathChar* path, const SessionOptions*, Session** out))                    \
    X(9, Status*, Run,                                                                             \
      (Session*, const void* run_options, const char* const* input_names,                          \
       const Value* const* inputs, size_t n_inputs, const char* const* output_names,               \
       size_t n_outputs, Value** outputs))                                                         \
    X(10, Status*, CreateSessionOptions, (SessionOptions** out))                                   \
    X(24, Status*, SetIntraOpNumThreads, (SessionOptions*, int n))                                 \
    X(49, Status*, CreateTensorWithDataAsOrtValue,                                                 \
      (const MemoryInfo*, void* data, size_t n_bytes, const int64_t* shape, size_t n_dims,         \
       int type, Value** out))                                                                     \
    X(51, Status*, GetTensorMutableData, (Value*, void** out))                                     \
    X(64, Status*, GetTensorShapeElementCount, (const ShapeInfo*, size_t* out))                    \
    X(65, Status*, GetTensorTypeAndShape, (const Value*, ShapeInfo** out))                         \
    X(69, Status*, CreateCpuMemoryInfo, (int allocator, int memory, MemoryInfo** out))             \
    X(76, Status*, AllocatorFree, (Allocator*, void*))                                             \
    X(78, Status*, GetAllocatorWithDefaultOptions, (Allocator** out))                              \
    X(92, void, ReleaseEnv, (Env*))                                                                \
    X(93, void, ReleaseStatus, (Status*))                                                          \
    X(94, void, ReleaseMemoryInfo, (MemoryInfo*))                                                  \
    X(95, void, ReleaseSession, (Session*))                                                        \
    X(96, void, ReleaseValue, (Value*))                                                            \
    X(99, void, ReleaseTensorTypeAndShapeInfo, (ShapeInfo*))                                       \
    X(100, void, ReleaseSessionOptions, (SessionOptions*))                                         \
    X(111, Status*, SessionGetModelMetadata, (const Session*, ModelMetadata** out))                \
    X(116, Status*, ModelMetadataLookupCustomMetadataMap,                                          \
      (const ModelMetadata*, Allocator*, const char* key, char** out))                             \
    X(118, void, ReleaseModelMetadata, (ModelMetadata*))

struct ApiBase {
    const void* const*(ORT_CALL* GetApi)(uint32_t version);
    const char*(ORT_CALL* GetVersionString)();
};

class Api {
  public:
    explicit Api(const void* const* table) : table_(table) {}

#define ORT_POINTER(position, returned, name, arguments)                                           \
    using name##Fn = returned(ORT_CALL*) arguments;                                                \
    name##Fn name() const { return reinterpret_cast<name##Fn>(const_cast<void*>(table_[position])); }
    ORT_ENTRIES(ORT_POINTER)
#undef ORT_POINTER

  private:
    const void* const* table_;
};

}  // namespace ort

extern "C" const ort::ApiBase* ORT_CALL OrtGetApiBase();
