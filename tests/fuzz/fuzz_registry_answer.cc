// SPDX-License-Identifier: MIT
#include <string_view>

#include "core/base/error.h"
#include "core/source/graphql.h"

/// The body of a registry's answer to each query: it is refused with an Error, or its packages can be listed.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  static const NamedIdent kIdent = *PackageSpecifier::parse("acme/app").named();
  static const PackageHash kHash{Sha256{}};
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  try {
    const webc::Json response = graphql::parse_response(body);
    (void)graphql::release(response, kHash);
    for (const PackageSummary& summary : graphql::published(response, kIdent, graphql::Prefer::kV3).packages) {
      (void)summary.pkg.id.to_string();
    }
  } catch (const Error&) {  // refused
  }
  return 0;
}
