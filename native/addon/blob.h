// NativeBlob: a plan's constants and state as a JavaScript object.
#pragma once

#include <napi.h>

#include <memory>

#include "plan/blob.h"

namespace fewbit::addon {

class BlobObject : public Napi::ObjectWrap<BlobObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // new BlobObject(Uint8Array), a copy; (byteLength), zeroed; (null, file descriptor), the mapped file; (blob, offset,
  // byteLength), a part.
  explicit BlobObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

  // Throws unless the object was made by this class: methods may be called on anything.
  static BlobObject* Unwrap(Napi::Object object);
  const std::shared_ptr<Blob>& blob() const { return blob_; }

 private:
  Napi::Value byte_length(const Napi::CallbackInfo& info);
  void read(const Napi::CallbackInfo& info);

  std::shared_ptr<Blob> blob_;
};

}  // namespace fewbit::addon
