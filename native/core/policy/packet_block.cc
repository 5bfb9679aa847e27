// See packet_block.h.

#include "core/policy/packet_block.h"

#include <cstring>
#include <string_view>

namespace tsvswitch {

namespace {

constexpr std::string_view kFateNames[] = {
#define X(name, text) text,
    TSVSWITCH_FATES(X)
#undef X
};
constexpr std::string_view kMarkNames[] = {
#define X(name, text) text,
    TSVSWITCH_MARKS(X)
#undef X
};
constexpr std::string_view kDropped = "dropped: ";
constexpr std::string_view kImpairment = "impairment: ";
constexpr std::string_view kSeparator = ", ";

constexpr size_t LongestFate() {
  size_t longest = 0;
  for (const std::string_view name : kFateNames) {
    if (name.size() > longest) longest = name.size();
  }
  return longest;
}
constexpr size_t AllMarks() {
  size_t bytes = 0;
  for (const std::string_view name : kMarkNames) bytes += name.size() + kSeparator.size();
  return bytes;
}
// Of two comments, the flags, the count and the end: headers, and what fills them up.
constexpr size_t kOtherBytesMax = 2 * (4 + 3) + 8 + 12 + 4;
static_assert(kDropped.size() + LongestFate() + kImpairment.size() + AllMarks() + kOtherBytesMax <=
              kPacketOptionsMax);

class OptionWriter {
 public:
  explicit OptionWriter(uint8_t* to) : start_(to), at_(to) {}

  void Begin(uint32_t code) {
    option_ = at_;
    code_ = code;
    at_ += sizeof(uint32_t);
  }
  void Put(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Put(uint32_t word) {
    std::memcpy(at_, &word, sizeof(word));
    at_ += sizeof(word);
  }
  void Finish() {
    const uint8_t* const value = option_ + sizeof(uint32_t);
    const auto bytes = static_cast<uint32_t>(at_ - value);
    const uint32_t header = OptionHeader(code_, bytes);
    std::memcpy(option_, &header, sizeof(header));
    const uint32_t filling = PaddedToWord(bytes) - bytes;
    std::memset(at_, 0, filling);
    at_ += filling;
  }
  uint32_t used() const { return static_cast<uint32_t>(at_ - start_); }

 private:
  uint8_t* const start_;
  uint8_t* at_;
  uint8_t* option_ = nullptr;
  uint32_t code_ = 0;
};

}  // namespace

uint32_t WritePacketOptions(uint8_t (&to)[kPacketOptionsMax], Fate fate, Marks marks,
                            Direction direction, uint32_t lost) {
  OptionWriter writer(to);
  if (IsDrop(fate)) {
    writer.Begin(kOptionComment);
    writer.Put(kDropped);
    writer.Put(kFateNames[static_cast<uint32_t>(fate)]);
    writer.Finish();
  }
  if (marks != 0) {
    writer.Begin(kOptionComment);
    std::string_view between = kImpairment;
    for (uint32_t mark = 0; mark < kMarks; ++mark) {
      if ((marks >> mark & 1) == 0) continue;
      writer.Put(between);
      writer.Put(kMarkNames[mark]);
      between = kSeparator;
    }
    writer.Finish();
  }
  writer.Begin(kOptionFlags);
  writer.Put(DirectionFlags(direction));
  writer.Finish();
  if (lost != 0) {
    writer.Begin(kOptionDropCount);
    writer.Put(lost);
    writer.Put(0u);
    writer.Finish();
  }
  writer.Put(0u);
  return writer.used();
}

}  // namespace tsvswitch
