#include "store/s3/answers.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <pugixml.hpp>

#include "base/errors.h"
#include "store/s3/address.h"

namespace davit::store::s3 {

namespace {

constexpr size_t kMaxMessage = 300;

[[noreturn]] void refuse(const std::string& why) {
  throw base::IoError("the server's list of files cannot be read: " + why, 0);
}

// Some servers put a prefix before the names of elements.
std::string_view local_name(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  return name.substr(name.find(':') + 1);
}

pugi::xml_node find(const pugi::xml_node& parent, std::string_view name) {
  for (const pugi::xml_node& node : parent.children())
    if (local_name(node) == name) return node;
  return {};
}

std::string text(const pugi::xml_node& parent, std::string_view name) {
  return find(parent, name).text().get();
}

// Of what encoding-type=url asks for: as in a form.
std::string decode(std::string text) {
  std::replace(text.begin(), text.end(), '+', ' ');
  return percent_decode(text);
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  if (text.size() > kMaxMessage) text.resize(kMaxMessage);
  return text;
}

}  // namespace

Listing parse_listing(std::string_view body) {
  pugi::xml_document document;
  if (const auto result = document.load_buffer(body.data(), body.size()); !result)
    refuse(result.description());
  const pugi::xml_node page = document.document_element();
  if (local_name(page) != "ListBucketResult") refuse("it is none");
  const bool is_encoded = text(page, "EncodingType") == "url";

  Listing listing;
  for (const pugi::xml_node& node : page.children()) {
    if (local_name(node) != "Contents") continue;
    const std::string key = text(node, "Key"), size = text(node, "Size");
    Listing::Object object{is_encoded ? decode(key) : key, 0};
    const auto [end, error] =
        std::from_chars(size.data(), size.data() + size.size(), object.size_bytes);
    if (key.empty() || error != std::errc() || end != size.data() + size.size())
      refuse("it holds a file without a name or a size");
    listing.objects.push_back(std::move(object));
  }
  const std::string more = text(page, "IsTruncated");
  if (more == "true") {
    listing.next = text(page, "NextContinuationToken");
    if (listing.next.empty())
      refuse("it goes on, and does not say where; does the server know ListObjectsV2?");
  } else if (more != "false") {
    refuse("it does not say whether it is the whole");
  }
  return listing;
}

Refusal parse_refusal(std::string_view body) {
  pugi::xml_document document;
  if (!document.load_buffer(body.data(), body.size())) return {};
  const pugi::xml_node error = document.document_element();
  if (local_name(error) != "Error") return {};
  return {one_line(text(error, "Code")), one_line(text(error, "Message")),
          one_line(text(error, "Region")), one_line(text(error, "Endpoint"))};
}

}  // namespace davit::store::s3
