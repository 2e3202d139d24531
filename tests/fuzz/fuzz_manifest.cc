// SPDX-License-Identifier: MIT
#include <exception>

#include "core/base/error.h"
#include "core/webc/manifest.h"

using namespace pkgfs;

extern "C" int LLVMFuzzerTestOneInput(const std::byte* data, std::size_t size) {
  webc::Manifest manifest;
  try {
    manifest = webc::parse_manifest({data, size});
  } catch (const Error&) {
    return 0;
  }
  for (const webc::Command& command : manifest.commands) {
    try {
      (void)webc::command_atom(command);
    } catch (const Error&) {
      continue;
    }
  }
  try {
    (void)manifest.wapm();
    (void)manifest.fs();
  } catch (const Error&) {
    return 0;
  }
  // What we write, we read again as the same.
  const webc::Json json = manifest.to_json();
  const webc::Json again = webc::parse_manifest(webc::encode_manifest(json)).to_json();
  if (json.dump() != again.dump()) {
    __builtin_trap();
  }
  return 0;
}
