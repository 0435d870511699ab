#include "files/csv.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "files/csv_field.hpp"
#include "files/csv_text.hpp"
#include "files/file.hpp"

namespace outrigger::files {
namespace {

/// The bytes of text that one thread processes in one step.
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

/// The first mistake of a chunk.
struct Mistake {
  std::int64_t line = std::numeric_limits<std::int64_t>::max();
  std::string text;
};

struct Chunk {
  std::size_t begin = 0;
  std::size_t end = 0;
  /// The lines of the chunk; later, the lines of all chunks before it.
  std::int64_t lines = 0;
  std::int64_t rows = 0;
  Mistake mistake = {};
};

class Reader {
 public:
  Reader(std::string_view text, const CsvOptions& options, Stop& stop)
      : text_(text), options_(options), stop_(stop) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
  }

  /// Examines the first line that is not blank. Errors: bad_file, those of the team.
  Result<void> begin(const std::string& name) {
    Scan scan(stop_, text_, text_);
    while (!text_.empty() && columns_ == 0 && !scan.ended()) {
      std::string_view rest = text_;
      std::string_view line = next_line(rest, scan);
      if (is_blank(line, options_.separator, scan)) {
        ++lines_before_;
        text_ = rest;
      } else if (options_.header) {
        OUTRIGGER_CHECK(take_header(name, scan));
      } else {
        columns_ = count_fields(line, options_.separator, scan);
      }
    }
    OUTRIGGER_CHECK(stop_.result());
    if (columns_ == 0) return bad_file(name, "has no lines");
    return {};
  }

  std::int64_t columns() const { return columns_; }
  std::int64_t rows() const { return rows_; }

  /// Errors: those of the team.
  Result<void> count(const Team& team) {
    Scan scan(stop_, text_, text_);
    for (std::size_t begin = 0; begin < text_.size() && !scan.ended();) {
      const std::size_t from = std::min(begin + chunk_bytes, text_.size()) - 1;
      const std::size_t end = std::min(scan.find(text_, '\n', from) + 1, text_.size());
      chunks_.push_back({begin, end});
      begin = end;
    }
    OUTRIGGER_CHECK(for_each_chunk(team, [&](Chunk& chunk, Scan& chunk_scan) {
      for (std::string_view rest = text_of(chunk); !rest.empty() && !chunk_scan.ended();
           ++chunk.lines) {
        const std::string_view line = next_line(rest, chunk_scan);
        chunk.rows += is_blank(line, options_.separator, chunk_scan) ? 0 : 1;
      }
    }));
    std::int64_t lines = lines_before_;
    for (Chunk& chunk : chunks_) {
      lines += std::exchange(chunk.lines, lines);
      rows_ += std::exchange(chunk.rows, rows_);
    }
    return {};
  }

  /// Errors: those of the team.
  Result<void> parse(const Team& team, const Tensor& out) {
    return for_each_chunk(team, [&](Chunk& chunk, Scan& scan) { parse(chunk, scan, out); });
  }

  /// The first mistake in the file; its text is empty if there is none.
  const Mistake& mistake() const {
    static const Mistake none;
    for (const Chunk& chunk : chunks_) {
      if (!chunk.mistake.text.empty()) return chunk.mistake;
    }
    return none;
  }

 private:
  std::string_view text_of(const Chunk& chunk) const {
    return text_.substr(chunk.begin, chunk.end - chunk.begin);
  }

  /// Reads the names. A name in quotes may contain line ends.
  Result<void> take_header(const std::string& name, Scan& scan) {
    bool open = false;
    const std::int64_t first = lines_before_ + 1;
    do {
      std::string_view line = next_line(text_, scan);
      ++lines_before_;
      // If the line begins inside a name, that name was counted where it begins.
      columns_ -= open ? 1 : 0;
      for (; line.data() != nullptr && !scan.ended(); ++columns_)
        next_field(line, options_.separator, scan, open);
    } while (open && !text_.empty() && !scan.ended());
    if (!open || scan.ended()) return {};
    return bad_file(name, "line " + std::to_string(first) + ", column " + std::to_string(columns_) +
                              ": the double quote at the beginning of the name is not closed");
  }

  template <typename F>
  Result<void> for_each_chunk(const Team& team, F&& f) {
    OUTRIGGER_CHECK(team(static_cast<std::int64_t>(chunks_.size()), [&](std::int64_t i) {
      Chunk& chunk = chunks_[static_cast<std::size_t>(i)];
      const std::string_view text = text_of(chunk);
      Scan scan(stop_, text_, text);
      f(chunk, scan);
      scan.release(text);
    }));
    return stop_.result();
  }

  void parse(Chunk& chunk, Scan& scan, const Tensor& out) const {
    const std::size_t width = size_of(out.dtype());
    std::byte* to = out.data() + static_cast<std::size_t>(chunk.rows * columns_) * width;
    std::int64_t number = chunk.lines;
    for (std::string_view rest = text_of(chunk); !rest.empty() && !scan.ended();) {
      std::string_view line = next_line(rest, scan);
      ++number;
      if (is_blank(line, options_.separator, scan)) continue;
      const std::string_view whole = line;
      bool open = false;
      for (std::int64_t column = 1; column <= columns_; ++column, to += width) {
        if (line.data() == nullptr) return note_columns(chunk, number, whole, scan);
        const std::string_view field = next_field(line, options_.separator, scan, open);
        if (scan.ended()) return;
        std::string wrong = parse_field(field, out.dtype(), to);
        if (wrong.empty()) continue;
        if (open)
          wrong =
              "a double quote without another one on the line; only names may contain line ends";
        chunk.mistake = {number, "line " + std::to_string(number) + ", column " +
                                     std::to_string(column) + ": " + wrong};
        return;
      }
      if (line.data() != nullptr) return note_columns(chunk, number, whole, scan);
    }
  }

  void note_columns(Chunk& chunk, std::int64_t number, std::string_view line, Scan& scan) const {
    chunk.mistake = {number, "line " + std::to_string(number) + " has " +
                                 std::to_string(count_fields(line, options_.separator, scan)) +
                                 " columns, the first has " + std::to_string(columns_)};
  }

  std::string_view text_;
  const CsvOptions& options_;
  Stop& stop_;
  std::int64_t lines_before_ = 0;  ///< lines before the text
  std::int64_t columns_ = 0;
  std::int64_t rows_ = 0;
  std::vector<Chunk> chunks_;
};

}  // namespace

Result<Tensor> load_csv(Memory& memory, const std::string& path, const CsvOptions& options,
                        const Team& team, const Check& check) {
  if (is_complex(options.dtype)) {
    return fail(ErrorCode::bad_dtype,
                "a file of numbers cannot be read as " + std::string(name_of(options.dtype)));
  }
  OUTRIGGER_TRY(const File file, File::open(path));
  const std::string& name = file.name();
  if (file.size() == 0) return bad_file(name, "is empty");
  OUTRIGGER_TRY(const Text text, Text::map(file));
  Stop stop(check);
  Reader reader(text.view(), options, stop);
  OUTRIGGER_CHECK(reader.begin(name));
  OUTRIGGER_CHECK(reader.count(team));
  TensorType type{options.dtype, {reader.rows(), reader.columns()}};
  OUTRIGGER_CHECK(check_shape(type.shape, size_of(type.dtype)));
  OUTRIGGER_TRY(Tensor tensor, allocate_tensor(memory, std::move(type)));
  OUTRIGGER_CHECK(reader.parse(team, tensor));
  OUTRIGGER_CHECK(text.check());
  if (!reader.mistake().text.empty()) return bad_file(name, reader.mistake().text);
  return tensor;
}

}  // namespace outrigger::files
