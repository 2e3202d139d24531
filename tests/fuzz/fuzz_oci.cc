// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/oci/auth_file.h"
#include "core/oci/challenge.h"
#include "core/oci/manifest.h"

/// Names, manifests, login files and challenges: a name prints in a form that means the same and stays in its
/// repository; a manifest and a login file are refused with an Error, or used.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs::oci;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto attempt = [&](const auto& parse) {
    try {
      parse(std::string(text));
    } catch (const pkgfs::Error&) {  // refused
    }
  };
  attempt([](const std::string& name) {
    const Reference parsed = Reference::parse("oci://" + name);
    if (Reference::parse(parsed.to_string()).to_string() != parsed.to_string() ||
        parsed.api_url("https").find_first_of("?#@\\%") != std::string::npos ||
        parsed.repository().find("..") != std::string::npos) {
      std::abort();
    }
  });
  attempt([](const std::string& json) { static_cast<void>(parse_manifest(json)); });
  attempt(
      [](const std::string& json) { static_cast<void>(AuthFile::parse(json).find(Reference::parse("oci://h/a"))); });
  static_cast<void>(parse_challenges(text));
  return 0;
}
