// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

/// Packages of growing size for `bench_scale`.
namespace pkgfs::bench {

/// One kind of growth.
struct ScaleCase {
  /// What a row of the table is called.
  std::string name;
  /// The sizes to compare. What is made of `twice` has about twice as many bytes as what is made of `once`.
  std::size_t once = 0;
  std::size_t twice = 0;
  /// Makes the input below a directory of its own. The result is measured.
  std::function<std::function<void()>(const std::filesystem::path& place, std::size_t size)> make;
};

[[nodiscard]] std::vector<ScaleCase> scale_cases();

}  // namespace pkgfs::bench
