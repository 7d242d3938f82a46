#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace benchmarks {

struct Line {
  std::string label, color;
  std::vector<double> values;  // one for each column
};

/// Draws lines, each with its label at its right end.
class Chart {
 public:
  Chart(std::string title, std::string subtitle, std::string below, std::vector<std::string> columns)
      : title_(std::move(title)),
        subtitle_(std::move(subtitle)),
        below_(std::move(below)),
        columns_(std::move(columns)) {}

  void add(Line line) { lines_.push_back(std::move(line)); }

  void write(const std::string& path) const { std::ofstream(path) << svg(); }

 private:
  static constexpr double width = 860, height = 460;
  static constexpr double left = 64, right = 590, top = 76, bottom = 400;

  std::string svg() const {
    double most = 0;
    for (const Line& line : lines_) most = std::max(most, *std::max_element(line.values.begin(), line.values.end()));
    const double step = round_step(most / 6);
    const double limit = std::ceil(most / step) * step;
    const auto y_of = [&](double value) { return bottom - value / limit * (bottom - top); };
    const auto x_of = [&](std::size_t column) {
      return left + static_cast<double>(column) / static_cast<double>(columns_.size() - 1) * (right - left);
    };

    std::ostringstream out;
    out.precision(5);
    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << ' ' << height
        << "\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#24292f\">\n"
        << "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        << text(left, 30, title_, "font-size=\"17\" font-weight=\"600\"") << text(left, 52, subtitle_, grey)
        << text((left + right) / 2, bottom + 44, below_, std::string("text-anchor=\"middle\" ") + grey);
    for (double value = 0; value <= limit + step / 2; value += step) {
      out << "<path d=\"M" << left << ' ' << y_of(value) << 'H' << right << "\" stroke=\"#d8dee4\"/>\n"
          << text(left - 8, y_of(value) + 4, short_number(value), std::string("text-anchor=\"end\" ") + grey);
    }
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      out << text(x_of(i), bottom + 20, columns_[i], std::string("text-anchor=\"middle\" ") + grey);
    }
    const auto label_y = spread_labels(y_of);
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const Line& line = lines_[i];
      out << "<polyline fill=\"none\" stroke-width=\"2.5\" stroke-linejoin=\"round\" stroke=\"" << line.color
          << "\" points=\"";
      for (std::size_t column = 0; column < line.values.size(); ++column) {
        out << x_of(column) << ',' << y_of(line.values[column]) << ' ';
      }
      out << "\"/>\n" << text(right + 10, label_y[i] + 4, line.label, "font-weight=\"600\" fill=\"" + line.color + '"');
    }
    out << "</svg>\n";
    return out.str();
  }

  static constexpr const char* grey = "fill=\"#57606a\"";

  static std::string text(double x, double y, const std::string& words, const std::string& attributes) {
    std::ostringstream out;
    out << "<text x=\"" << x << "\" y=\"" << y << "\" " << attributes << '>' << words << "</text>\n";
    return out.str();
  }

  // 1, 2 or 5 times a power of ten.
  static double round_step(double least) {
    const double power = std::pow(10, std::floor(std::log10(least)));
    for (const double factor : {1, 2, 5}) {
      if (factor * power >= least) return factor * power;
    }
    return 10 * power;
  }

  static std::string short_number(double value) {
    std::ostringstream out;
    if (value >= 1000) {
      out << value / 1000 << 'k';
    } else {
      out << value;
    }
    return out.str();
  }

  // Where the labels go: at the ends of their lines, but not on each other.
  template <class YOf>
  std::vector<double> spread_labels(const YOf& y_of) const {
    constexpr double distance = 18;
    std::vector<std::size_t> order;
    std::vector<double> y;
    for (const Line& line : lines_) {
      order.push_back(order.size());
      y.push_back(y_of(line.values.back()));
    }
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return y[a] > y[b]; });
    double next = bottom + distance / 2;  // the lowest first, each next one above it
    for (const std::size_t i : order) {
      y[i] = std::min(y[i], next);
      next = y[i] - distance;
    }
    return y;
  }

  const std::string title_, subtitle_, below_;
  const std::vector<std::string> columns_;
  std::vector<Line> lines_;
};

}  // namespace benchmarks
