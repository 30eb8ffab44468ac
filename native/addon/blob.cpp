#include "addon/blob.h"

#include <cstring>

#include "addon/arguments.h"
#include "plan/pages.h"
#include "plan/plan.h"

namespace fewbit::addon {
namespace {
constexpr napi_type_tag kTag = {0x4b8d1f0e2c6a47d3, 0x9a3be1c05f7d2468};
}

Napi::Function BlobObject::define(Napi::Env env) {
  return DefineClass(env, "NativeBlob",
                     {InstanceAccessor<&BlobObject::byte_length>("byteLength"), InstanceMethod<&BlobObject::read>("read")});
}

namespace {

// Reading so much is quicker when all pages, of both sides, come at once.
constexpr size_t kManyPages = 64 * 1024;

std::shared_ptr<Blob> copy_of(Napi::Value value) {
  const Bytes bytes = typed_array(value, napi_uint8_array, "bytes");
  auto blob = std::make_shared<Blob>(bytes.size);
  if (bytes.size) std::memcpy(blob->data(), bytes.data, bytes.size);
  return blob;
}

std::shared_ptr<Blob> mapped(Napi::Value value) {
  const auto descriptor = static_cast<int>(integer(value, 0, INT32_MAX, "descriptor"));
  return std::make_shared<Blob>(std::make_shared<const MappedFile>(descriptor));
}

std::shared_ptr<Blob> part_of(const Blob& whole, Napi::Value offset_value, Napi::Value size_value) {
  const auto size = static_cast<int64_t>(whole.size());
  const int64_t offset = integer(offset_value, 0, size, "offset");
  if (offset % int64_t(kAlignment)) throw Napi::RangeError::New(offset_value.Env(), "offset must be a multiple of 64");
  return std::make_shared<Blob>(whole, offset, integer(size_value, 0, size - offset, "byteLength"));
}

}  // namespace

BlobObject::BlobObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    if (info[0].IsNumber())
      blob_ = std::make_shared<Blob>(static_cast<size_t>(integer(info[0], 0, kMaxPlanBytes, "byteLength")));
    else if (info[0].IsNull())
      blob_ = mapped(info[1]);
    else if (info[0].IsTypedArray())
      blob_ = copy_of(info[0]);
    else
      blob_ = part_of(*Unwrap(info[0].As<Napi::Object>())->blob(), info[1], info[2]);
  });
  info.This().As<Napi::Object>().TypeTag(&kTag);
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), static_cast<int64_t>(blob_->owned()));
}

void BlobObject::Finalize(Napi::BasicEnv env) {
  if (blob_) Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<int64_t>(blob_->owned()));
}

BlobObject* BlobObject::Unwrap(Napi::Object object) {
  if (!object.IsObject() || !object.CheckTypeTag(&kTag)) throw Napi::TypeError::New(object.Env(), "this is not a NativeBlob");
  return ObjectWrap::Unwrap(object);
}

Napi::Value BlobObject::byte_length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(blob_->size()));
}

void BlobObject::read(const Napi::CallbackInfo& info) {
  const auto size = static_cast<int64_t>(blob_->size());
  const int64_t offset = integer(info[0], 0, size, "offset");
  const Bytes target = typed_array(info[1], napi_uint8_array, "target");
  if (target.size > size_t(size - offset)) {
    throw Napi::RangeError::New(info.Env(), "the blob has " + std::to_string(size - offset) + " bytes from offset " +
                                                std::to_string(offset) + ", fewer than target (" + std::to_string(target.size) +
                                                ")");
  }
  const uint8_t* const source = blob_->data() + offset;
  if (target.size >= kManyPages) {
    if (blob_->file()) blob_->file()->fetch(source, target.size);
    make_pages(target.data, target.size);
  }
  if (target.size) std::memcpy(target.data, source, target.size);
  if (blob_->file() && !blob_->file()->intact()) throw Napi::Error::New(info.Env(), kFileChanged);
}

}  // namespace fewbit::addon
