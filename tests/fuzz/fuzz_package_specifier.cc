// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <string_view>

#include "core/base/error.h"
#include "core/package/package_info.h"

/// Specifiers, versions and requirements: names are harmless, the rest prints in a form that means the same.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  bool good = sanitize_path(text).front() == '/';
  try {
    const PackageSpecifier specifier = PackageSpecifier::parse(text);
    if (specifier.named() != nullptr) {
      good = good && specifier.named()->full_name().find_first_of("\"\\\n\x1b\x7f") == std::string::npos;
    } else if (specifier.path() == nullptr) {
      good = good && PackageSpecifier::parse(specifier.to_string()) == specifier;
    }
  } catch (const Error&) {  // refused
  }
  const auto version = Version::try_parse(text);
  const auto wanted = VersionReq::try_parse(text);
  good = good && (!version || version->to_string() == text);
  if (!good || (wanted && VersionReq::parse(wanted->to_string()) != *wanted)) {
    std::abort();
  }
  return 0;
}
