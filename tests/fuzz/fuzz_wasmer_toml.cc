// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/package/wasmer_toml.h"

/// A wasmer.toml whose files all have one content, the file itself: parsing and deriving end in a manifest or an Error.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)wasm_features(text);
  try {
    const WasmerToml toml = parse_wasmer_toml(text);
    const PackageFiles files{[&](const std::string&) { return text; }, [](const std::string&) { return true; }};
    (void)derive_manifest(toml, files).to_json().dump();
  } catch (const Error&) {
  }
  return 0;
}
