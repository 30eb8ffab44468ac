#include "addon/weights.h"

#include <limits>

#include "addon/arguments.h"
#include "addon/blob.h"
#include "format/floats.h"
#include "format/packed_weight.h"

namespace fewbit::addon {
namespace {

struct Shape {
  int outputs, inputs, bits;
  size_t elements() const { return size_t(outputs) * inputs; }
};

// From three arguments. Neither side overflows an int when it is padded, nor their product a size_t.
Shape shape(const Napi::CallbackInfo& info, size_t first) {
  constexpr int64_t most = 1 << 24;
  return {static_cast<int>(integer(info[first], 1, most, "outputs")),
          static_cast<int>(integer(info[first + 1], 1, most, "inputs")),
          static_cast<int>(integer(info[first + 2], 2, 8, "bits"))};
}

Napi::RangeError wrong_size(Napi::Env env, const char* name, size_t size, size_t expected) {
  return Napi::RangeError::New(
      env, std::string(name) + " has " + std::to_string(size) + " bytes, and a weight of this shape " + std::to_string(expected));
}

// The packed codes of a weight.
const Blob& packed_blob(Napi::Value value, const Shape& s) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "blob must be a NativeBlob");
  const Blob& blob = *BlobObject::Unwrap(value.As<Napi::Object>())->blob();
  const size_t size = packed_bytes(s.outputs, s.inputs, s.bits);
  if (blob.size() != size) throw wrong_size(value.Env(), "the blob", blob.size(), size);
  return blob;
}

// Behind reading: what was read of a file that was changed may be anything.
void require_intact(Napi::Env env, const Blob& blob) {
  if (blob.file() && !blob.file()->intact()) throw Napi::Error::New(env, kFileChanged);
}

Bytes exactly(Napi::Value value, napi_typedarray_type type, const char* name, size_t size) {
  const Bytes bytes = typed_array(value, type, name);
  if (bytes.size != size) throw wrong_size(value.Env(), name, bytes.size, size);
  return bytes;
}

}  // namespace

Napi::Value packed_bytes_of(const Napi::CallbackInfo& info) {
  const Shape s = shape(info, 0);
  return Napi::Number::New(info.Env(), static_cast<double>(packed_bytes(s.outputs, s.inputs, s.bits)));
}

Napi::Value pack(const Napi::CallbackInfo& info) {
  const Shape s = shape(info, 1);
  const Bytes codes = exactly(info[0], napi_int8_array, "codes", s.elements());
  auto packed = Napi::Uint8Array::New(info.Env(), packed_bytes(s.outputs, s.inputs, s.bits));
  pack_weight(reinterpret_cast<const int8_t*>(codes.data), s.outputs, s.inputs, s.bits, packed.Data());
  return packed;
}

Napi::Value unpack(const Napi::CallbackInfo& info) {
  const Shape s = shape(info, 1);
  const Bytes packed = exactly(info[0], napi_uint8_array, "packed", packed_bytes(s.outputs, s.inputs, s.bits));
  auto codes = Napi::Int8Array::New(info.Env(), s.elements());
  unpack_weight(packed.data, s.outputs, s.inputs, s.bits, codes.Data());
  return codes;
}

Napi::Value sum(const Napi::CallbackInfo& info) {
  const Shape s = shape(info, 1);
  const Blob& blob = packed_blob(info[0], s);
  if (blob.file()) blob.file()->fetch(blob.data(), blob.size());
  auto sums = Napi::TypedArrayOf<int32_t>::New(info.Env(), s.outputs, napi_int32_array);
  sum_weight(blob.data(), s.outputs, s.inputs, s.bits, sums.Data());
  require_intact(info.Env(), blob);
  return sums;
}

Napi::Value padded(const Napi::CallbackInfo& info) {
  const Shape s = shape(info, 1);
  const Blob& blob = packed_blob(info[0], s);
  // A file is looked at only where something of it was read.
  if (!has_padding(s.outputs, s.inputs)) return Napi::Boolean::New(info.Env(), true);
  const bool zeros = is_padded(blob.data(), s.outputs, s.inputs, s.bits);
  require_intact(info.Env(), blob);
  return Napi::Boolean::New(info.Env(), zeros);
}

Napi::Value first_outside_of(const Napi::CallbackInfo& info) {
  const Bytes values = typed_array(info[0], napi_float32_array, "values");
  if (!info[1].IsNumber() || !info[2].IsNumber()) throw Napi::TypeError::New(info.Env(), "low and high must be numbers");
  const double low = info[1].As<Napi::Number>().DoubleValue(), high = info[2].As<Napi::Number>().DoubleValue();
  constexpr double most = std::numeric_limits<float>::max();
  if (!(-most <= low && low <= most && -most <= high && high <= most))
    throw Napi::RangeError::New(info.Env(), "low and high must be float32");
  const int64_t found =
      first_outside(reinterpret_cast<const float*>(values.data), static_cast<int64_t>(values.size / sizeof(float)),
                    static_cast<float>(low), static_cast<float>(high));
  return Napi::Number::New(info.Env(), static_cast<double>(found));
}

}  // namespace fewbit::addon
