// SPDX-License-Identifier: MIT
#include "core/oci/repository.h"

#include <utility>

#include "core/base/ascii.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/net/address_policy.h"
#include "core/net/http_client.h"
#include "core/net/retry.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

namespace pkgfs::oci {
namespace {

using Method = HttpRequest::Method;

constexpr int kOk = 200;
constexpr int kCreated = 201;
constexpr int kAccepted202 = 202;
constexpr int kNotFound = 404;

/// What a registry says of an error (OCI distribution-spec 1.1, "Error Codes"): its code and message; empty if it says
/// nothing.
std::string said(const HttpResponse& response) {
  try {
    const webc::Json answer = webc::parse_json(response.body);
    const webc::Json& first = answer.at("errors").at(0);
    std::string text;
    for (const char* key : {"code", "message"}) {
      if (const auto part = webc::optional_text(first, key, "")) {
        text += (text.empty() ? "" : ": ") + *part;
      }
    }
    return server_text(text);
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
  } catch (const webc::Json::exception&) {  // another kind of answer
  }
  return {};
}

}  // namespace

bool Repository::is_https() {
  if (scheme_) {
    return *scheme_ == "https";
  }
  const std::string host = reference_.api_host();
  const Url secure = Url::parse("https://" + host + "/v2/");
  scheme_ = "https";
  if (!secure.is_loopback()) {
    return true;
  }
  // Nothing secret is sent here: the authorizer covers only URLs of repositories.
  HttpRequest probe{.url = secure, .headers = {}, .body = {}, .bearer = std::nullopt};
  try {
    (void)client_.fetch_once(probe, cancel_);
    return true;
  } catch (const HttpError& without) {
    log::debug("{} isn't reached with https: {}", host, without);
    probe.url = Url::parse("http://" + host + "/v2/");
    int status = 0;
    try {
      status = client_.fetch_once(probe, cancel_).status;
    } catch (const HttpError& error) {
      log::debug("{}", error);
    }
    if (status != kOk && status != 401) {  // a server with https answers 400
      scheme_.reset();
      throw Error(ErrorCode::kNetwork, without).context("Unable to reach the registry \"" + host + "\"");
    }
  }
  scheme_ = "http";
  return false;
}

HttpRequest Repository::request(Method method, const std::string& path) {
  const std::string base = reference_.api_url(is_https() ? "https" : "http");
  if (client_.addresses() != nullptr) {
    client_.addresses()->name(base);  // the user named this server
  }
  HttpRequest request{.method = method, .url = Url::parse(base + path), .headers = {}, .body = {}, .bearer = {}};
  return request;
}

Url Repository::blob_url(const Sha256& digest) {
  return Url::parse(reference_.api_url(is_https() ? "https" : "http") + "blobs/" + digest_text(digest));
}

Error Repository::refused(const HttpResponse& response, const std::string& what) const {
  const std::string failed = "Unable to " + what + " \"" + reference_.to_string() + "\"";
  std::string why = response.status_text();
  if (const std::string text = said(response); !text.empty()) {
    why += " (" + text + ")";
  }
  if (response.status == 401 || response.status == 403) {
    return {ErrorCode::kPermission,
            {failed, "the registry \"" + reference_.registry() + "\" refuses: " + why,
             "\"docker login\" or \"podman login\" stores a password for it; docs/OCI.md says where pkgfs looks"}};
  }
  if (response.status == kNotFound) {
    return {ErrorCode::kNotFound, {failed, "the registry has no such artifact: " + why}};
  }
  return {ErrorCode::kNetwork, {failed, "the registry answers " + why}};
}

Repository::Document Repository::manifest() {
  const std::string name = reference_.digest() ? digest_text(*reference_.digest()) : reference_.tag();
  HttpRequest get = request(Method::kGet, "manifests/" + name);
  get.headers.emplace_back("Accept", kAccepted);
  get.max_bytes = kManifestBytes;
  HttpResponse response = client_.fetch(get, cancel_);
  if (response.status != kOk) {
    throw refused(response, "find");
  }
  Document document{.text = std::move(response.body), .digest = {}};
  document.digest = sha256(document.text);
  const auto check = [&](const std::string& expected) {
    if (expected != digest_text(document.digest)) {
      throw Error(ErrorCode::kCorrupt,
                  {"The manifest of \"" + reference_.to_string() + "\" is damaged",
                   "expected the hash " + server_text(expected) + ", found " + digest_text(document.digest)});
    }
  };
  if (reference_.digest()) {
    check(digest_text(*reference_.digest()));
  } else if (const std::string* stated = response.header("docker-content-digest");
             stated != nullptr && stated->starts_with("sha256:")) {
    check(*stated);
  }
  return document;
}

std::string Repository::blob(const Descriptor& wanted) {
  HttpRequest get = request(Method::kGet, "blobs/" + digest_text(wanted.digest));
  get.max_bytes = wanted.size;
  HttpResponse response = client_.fetch(get, cancel_);
  if (response.status != kOk) {
    throw refused(response, "read the blob " + digest_text(wanted.digest) + " of");
  }
  if (response.body.size() != wanted.size || sha256(response.body) != wanted.digest) {
    throw Error(ErrorCode::kCorrupt,
                {"The blob " + digest_text(wanted.digest) + " of \"" + reference_.to_string() + "\" is damaged",
                 "the registry sent " + std::to_string(response.body.size()) + " bytes with the hash " +
                     digest_text(sha256(response.body)) + ", and the manifest states " + std::to_string(wanted.size) +
                     " bytes"});
  }
  return std::move(response.body);
}

bool Repository::has_blob(const Sha256& digest) {
  const HttpResponse response = client_.fetch(request(Method::kHead, "blobs/" + digest_text(digest)), cancel_);
  if (response.status != kOk && response.status != kNotFound) {
    throw refused(response, "look for the blob " + digest_text(digest) + " in");
  }
  return response.status == kOk;
}

Url Repository::upload_url(const HttpResponse& begun, const Sha256& digest) {
  const std::string* const location = begun.header("location");
  const std::string failed = "Unable to push to \"" + reference_.to_string() + "\"";
  if (location == nullptr || location->empty()) {
    throw Error(ErrorCode::kNetwork, {failed, "the registry doesn't say where to send a blob"});
  }
  const Url registry = Url::parse(begun.url);
  std::string text = *location;
  if (text.starts_with("/") && !text.starts_with("//")) {
    text.insert(0, registry.scheme() + "://" + registry.authority());
  }
  text += (text.find('?') == std::string::npos ? "?digest=" : "&digest=") + digest_text(digest);
  try {
    Url url = Url::parse(text);
    if (!url.is_https() && !(url.is_loopback() && !registry.is_https())) {
      throw Error(ErrorCode::kNetwork, "\"" + server_text(*location) + "\" isn't encrypted");
    }
    if (client_.addresses() != nullptr && url.authority() != registry.authority()) {
      client_.addresses()->announce(url.text(), registry.text());
    }
    return url;
  } catch (const Error& error) {
    throw Error(ErrorCode::kNetwork, error)
        .context("the registry names no usable place to send a blob")
        .context(failed);
  }
}

HttpResponse Repository::begin_upload(const Push& push, const std::string& query) {
  HttpRequest begin = request(Method::kPost, "blobs/uploads/" + query);
  begin.headers.emplace_back("Content-Type", "application/octet-stream");
  begin.deadline = push.deadline;
  return client_.fetch_once(begin, cancel_);
}

bool Repository::mount_blob(Push& push, const std::string& from) {
  std::string why;
  bool is_open = true;  // whether the registry may have done it
  push.attempted = Pushed::kMounted;
  try {
    HttpResponse answer = begin_upload(push, "?mount=" + digest_text(push.digest) + "&from=" + from);
    if (answer.status == kAccepted202) {  // begins an upload, as without `from`
      push.begun = std::move(answer);
      return false;
    }
    is_open = answer.status == kCreated || HttpClient::is_transient(answer.status);
    why = answer.status_text();
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    const auto* const http = dynamic_cast<const HttpError*>(&error);
    may_mount_ = http != nullptr && !http->is_timeout();  // the other blobs don't wait for such a server or login
    why = error.what();
  }
  // Not even 201 is believed: if the blob were missing, the registry would refuse the manifest, each time.
  if (is_open && has_blob(push.digest)) {
    return true;
  }
  log::debug("{} doesn't take {} from \"{}\": {}", reference_.registry(), digest_text(push.digest), from, why);
  return false;
}

std::optional<HttpResponse> Repository::send_blob(Push& push) {
  std::optional<HttpResponse> begun = std::exchange(push.begun, {});
  if (!begun) {
    begun = begin_upload(push, "");
  }
  if (HttpClient::is_transient(begun->status)) {
    return begun;
  }
  if (begun->status != kAccepted202) {
    throw refused(*begun, "push to");
  }
  push.attempted = Pushed::kSent;
  HttpRequest put{.method = Method::kPut,
                  .url = upload_url(*begun, push.digest),
                  .headers = {{"Content-Type", "application/octet-stream"}},
                  .body = push.text,
                  .bearer = {}};
  put.upload = push.upload;
  put.purpose = HttpRequest::Purpose::kDownload;
  put.deadline = push.deadline;
  HttpResponse stored = client_.fetch_once(put, cancel_);
  if (HttpClient::is_transient(stored.status)) {
    return stored;
  }
  if (stored.status != kCreated) {
    throw refused(stored, "push the blob " + digest_text(push.digest) + " to");
  }
  return std::nullopt;
}

Pushed Repository::push_blob(const Sha256& digest, const std::string& text, const std::optional<HttpUpload>& upload,
                             const std::string& from) {
  const std::string what = "sending " + digest_text(digest);
  Push push{.digest = digest,
            .text = text,
            .upload = upload,
            .from = may_mount_ ? from : std::string(),
            .deadline = client_.download_deadline()};  // of all attempts together
  Backoff backoff(client_.retry_policy(), cancel_, push.deadline);
  while (true) {
    // Also before another attempt: the answer to the first one may have been lost.
    if (has_blob(digest)) {
      return push.attempted;
    }
    if (const std::string other = std::exchange(push.from, {}); !other.empty() && mount_blob(push, other)) {
      return push.attempted;
    }
    const auto begun = Backoff::Clock::now();
    try {
      const std::optional<HttpResponse> busy = send_blob(push);
      if (!busy) {
        return push.attempted;
      }
      const auto wait = busy->retry_after();
      if (wait ? !backoff.again_after(*wait, what) : !backoff.again(what)) {
        throw refused(*busy, "push to");
      }
    } catch (const HttpError& error) {
      if (!error.is_transient() || !backoff.again_after(error, begun, what)) {
        throw error.after(backoff.attempts());
      }
    }
  }
}

bool Repository::push_manifest(const std::string& text) {
  const std::string digest = digest_text(sha256(text));
  HttpRequest head = request(Method::kHead, "manifests/" + reference_.tag());
  head.headers.emplace_back("Accept", kAccepted);
  const HttpResponse there = client_.fetch(head, cancel_);
  if (there.status != kOk && there.status != kNotFound) {
    throw refused(there, "look for");
  }
  const std::string* known = there.header("docker-content-digest");
  if (there.status == kOk && known != nullptr && *known == digest) {
    return false;
  }
  HttpRequest put = request(Method::kPut, "manifests/" + reference_.tag());
  put.headers.emplace_back("Content-Type", kManifestType);
  put.body = text;
  const HttpResponse stored = client_.fetch(put, cancel_);
  if (stored.status != kCreated) {
    throw refused(stored, "push the manifest of");
  }
  if (const std::string* as = stored.header("docker-content-digest"); as != nullptr && *as != digest) {
    throw Error(ErrorCode::kNetwork, {"The registry stored \"" + reference_.to_string() + "\" with another hash",
                                      "expected " + digest + ", found " + server_text(*as)});
  }
  return true;
}

}  // namespace pkgfs::oci
