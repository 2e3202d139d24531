// SPDX-License-Identifier: MIT
// Risk: a small package of a stranger takes the memory of the machine, in a mount or in a command that only shows it.
#include <gmock/gmock.h>
#include <malloc.h>

#include <fstream>

#include "core/base/limits.h"
#include "core/webc/writer.h"
#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;
using webc::Json;

constexpr long kMost = 64L << 20U;

class Proportion : public ::testing::Test {
 protected:
  /// Writes a package with `manifest`, and checks what each command takes to show it.
  void expect_in_proportion(Json manifest, int exit_code, const std::string& error = "") {
    const std::string package = dir_.path() / "strange.webc";
    std::ofstream(package, std::ios::binary) << [&] {
      const std::vector<std::byte> bytes = webc::Writer(webc::Version::kV3, manifest).to_bytes();
      return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }();
    manifest = nullptr;
    ::malloc_trim(0);  // a child process begins with the memory of this one, and the kernel counts that
    for (const Arguments& command : std::vector<Arguments>{{"inspect", "--json", package},
                                                           {"inspect", "--commands", "--json", package},
                                                           {"verify", package},
                                                           {"tree", package},
                                                           {"ls", package, "/"}}) {
      Arguments arguments{kPkgfs};
      arguments.insert(arguments.end(), command.begin(), command.end());
      const ProcessResult result = run(arguments, {.environment = {{"WASMER_DIR", dir_.path()}}});
      EXPECT_EQ(result.exit_code, exit_code) << command[0] << ": " << result.err.substr(0, 1000);
      EXPECT_LT(result.peak_memory, kMost) << command[0];
      EXPECT_THAT(result.err.substr(0, 1000), HasSubstr(error)) << command[0];
    }
  }

  /// A package whose annotation `x` is `value`.
  static Json annotated(Json value) {
    return {{"package",
             {{"wapm", {{"name", "a/b"}, {"version", "1.0.0"}}}, {"x", std::move(value)}, {"fs", Json::array()}}}};
  }

  const TempDir dir_;
};

TEST_F(Proportion, AMillionEmptyMapsAreRefused) {
  expect_in_proportion(annotated(Json::array_t(1'000'000, Json::object())), 4, "more than 300000 items");
}

TEST_F(Proportion, EmptyMapsTextsAndKeys) {
  expect_in_proportion(annotated(Json::array_t(100'000, Json::object())), 0);
  expect_in_proportion(annotated(Json::array_t(180'000, Json::object())), 4, "bytes of memory");
  expect_in_proportion(annotated(Json::array_t(299'980, "eight...")), 0);
  Json::object_t keys;
  for (int i = 0; i < 149'990; ++i) {
    static_cast<std::vector<Json::object_t::value_type>&>(keys).emplace_back(std::to_string(i), Json::array());
  }
  expect_in_proportion(annotated(std::move(keys)), 0);
}

TEST_F(Proportion, DeepValues) {  // printed, each line has 120 blanks
  Json value = Json::array_t(299'000, "eight...");
  for (int level = 0; level < 58; ++level) {
    Json::array_t outer;  // not `{std::move(value)}`, which copies the value
    outer.push_back(std::move(value));
    value = std::move(outer);
  }
  expect_in_proportion(annotated(std::move(value)), 0);
}

TEST_F(Proportion, LongTexts) {
  expect_in_proportion(annotated(std::string(limits::kManifestBytes - 200, 'x')), 0);
  expect_in_proportion(annotated(Json::array_t(200'000, std::string(60, 'x'))), 0);
  expect_in_proportion(annotated(std::string(limits::kManifestBytes, 'x')), 4, "more than the limit of 16777216");
}

}  // namespace
}  // namespace pkgfs::test
