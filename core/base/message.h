// SPDX-License-Identifier: MIT
#pragma once

#include <fmt/core.h>

#include <concepts>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/base/error.h"
#include "core/base/printable.h"

/// Formats messages. An argument that is a text is made printable and cut to `kLongestMessage` characters. The format
/// is a literal, and its line breaks stay. So do the line breaks of an argument that is an Error, because its messages
/// are printable already. Pass the exception itself, not its `what()`.
namespace pkgfs {

/// The form in which a message shows `argument`: a printable text for a text or an exception, else `argument` itself.
template <typename T>
[[nodiscard]] decltype(auto) shown_argument(const T& argument) {
  if constexpr (std::derived_from<T, std::exception>) {
    const bool is_ours = dynamic_cast<const Error*>(&static_cast<const std::exception&>(argument)) != nullptr;
    return is_ours ? std::string(argument.what()) : shortened(printable(argument.what()), kLongestMessage);
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    return shortened(printable(std::string_view(argument)), kLongestMessage);
  } else {
    return (argument);
  }
}

template <typename T>
using ShownArgument = std::remove_cvref_t<decltype(shown_argument(std::declval<const T&>()))>;
/// A format string. The compiler checks that it fits the arguments.
template <typename... Args>
using MessageFormat = fmt::format_string<ShownArgument<std::type_identity_t<Args>>...>;

template <typename... Args>
[[nodiscard]] std::string format_message(MessageFormat<Args...> format, const Args&... args) {
  return [&](const auto&... shown) {
    return fmt::vformat(format, fmt::make_format_args(shown...));
  }(shown_argument(args)...);
}

}  // namespace pkgfs
