// The kernels as PyTorch operators of the namespace `dynbench`; fp32, contiguous, on the CPU, for inference.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "by_input.h"
#include "convolution.h"
#include "decision.h"
#include "pooled_linear.h"
#include "positions.h"

namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

const float* floats(const Tensor& t, const char* name) {
  TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous(), name,
              " must be contiguous float32 on the CPU");
  return t.const_data_ptr<float>();
}

const float* floats(const OptionalTensor& t, const char* name) { return t ? floats(*t, name) : nullptr; }

// Features (N, C, H, W), copied where their planes are not contiguous.
Tensor with_planes(const Tensor& t, const char* name) {
  TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == at::kFloat && t.dim() == 4, name,
              " must be float32 (N, C, H, W) on the CPU");
  return (t.size(3) == 1 || t.stride(3) == 1) && (t.size(2) == 1 || t.stride(2) == t.size(3)) ? t : t.contiguous();
}

dynbench::Planes<const float> planes(const Tensor& t) { return {t.const_data_ptr<float>(), t.stride(0), t.stride(1)}; }

const int64_t* channels(const OptionalTensor& t, int64_t limit, const char* name) {
  if (!t) return nullptr;
  TORCH_CHECK(t->device().is_cpu() && t->scalar_type() == at::kLong && t->is_contiguous() && t->dim() == 1, name,
              " must be contiguous int64 on the CPU");
  const int64_t* channel = t->const_data_ptr<int64_t>();
  for (int64_t i = 0; i < t->numel(); i++)
    TORCH_CHECK(channel[i] >= 0 && channel[i] < limit, name, " names channel ", channel[i], " of ", limit);
  return channel;
}

Tensor convolution(const Tensor& features, const Tensor& weight, const Tensor& bias, const OptionalTensor& outputs,
                   const OptionalTensor& inputs, const OptionalTensor& scales, const OptionalTensor& addend, bool relu,
                   int64_t stride, int64_t padding, int64_t dilation, bool by_input) {
  const bool packed = weight.dim() == 5;
  const Tensor x = with_planes(features, "x");
  const OptionalTensor scale = scales ? OptionalTensor(scales->contiguous()) : std::nullopt;
  const OptionalTensor residual = addend ? OptionalTensor(with_planes(*addend, "residual")) : std::nullopt;
  TORCH_CHECK((packed || weight.dim() == 4), "x must be (N, C, H, W), weight in rows or packed");
  TORCH_CHECK(stride > 0 && padding >= 0 && dilation > 0, "stride, padding or dilation");
  TORCH_CHECK(!packed || (weight.size(4) == dynbench::KB && !outputs), "packed weights: this machine's, all outputs");
  const int64_t K = bias.numel(), C = weight.size(by_input ? 0 : 1);
  TORCH_CHECK(by_input ? weight.dim() == 4 && weight.size(1) == K : weight.size(0) == (packed ? (K + dynbench::KB - 1) / dynbench::KB : K), "weight and bias differ");
  const dynbench::Geometry g(x.size(2), x.size(3), weight.size(2), weight.size(3), stride, padding, dilation);
  TORCH_CHECK(g.OH > 0 && g.OW > 0, "the image is smaller than the kernel");
  const int64_t in = inputs ? inputs->numel() : C, out = outputs ? outputs->numel() : K;
  TORCH_CHECK(x.size(1) == in || x.size(1) == C, "x has ", x.size(1), " channels, expected ", in, " or ", C);
  const int64_t N = x.size(0);
  TORCH_CHECK(!scale || (scale->dim() == 2 && (scale->size(0) == 1 || scale->size(0) == N) &&
                         (scale->size(1) == 1 || scale->size(1) == out)),
              "scale must be (N or 1, active outputs or 1)");
  Tensor result = at::empty({N, out, g.OH, g.OW}, x.options());
  TORCH_CHECK(!residual || residual->sizes() == result.sizes(), "residual must have the output's shape");
  const dynbench::Convolution c{.g = g,
                 .x = planes(x),
                 .images = N,
                 .x_channels = x.size(1),
                 .weight = floats(weight, "weight"),
                 .channels = C,
                 .packed = packed,
                 .bias = floats(bias, "bias"),
                 .outputs = channels(outputs, K, "outputs"),
                 .active_outputs = out,
                 .inputs = channels(inputs, C, "inputs"),
                 .active_inputs = in,
                 .scale = floats(scale, "scale"),
                 .scale_image = scale && scale->size(0) > 1 ? scale->size(1) : 0,
                 .scale_output = scale && scale->size(1) > 1 ? 1 : 0,
                 .residual = residual ? planes(*residual) : dynbench::Planes<const float>{},
                 .relu = relu,
                 .out = {result.mutable_data_ptr<float>(), result.stride(0), result.stride(1)}};
  TORCH_CHECK(!by_input || dynbench::fits_by_input(c), "by input: one image of 3x3 taps, no larger than a vector");
  by_input ? dynbench::run_by_input(c) : dynbench::run(c);
  return result;
}

// relu(conv(x) + bias), or with `add` relu(conv(x) + bias + out), into `out` (1, active outputs, OH, OW) at the positions
// `where`; packed weights where all outputs run.
Tensor convolution_at(Tensor out, const Tensor& features, const Tensor& where, const Tensor& weight, const Tensor& bias,
                      const OptionalTensor& outputs, const OptionalTensor& inputs, bool add, int64_t stride,
                      int64_t padding, int64_t dilation) {
  const bool packed = weight.dim() == 5;
  const Tensor x = with_planes(features, "x");
  TORCH_CHECK((packed || weight.dim() == 4), "x must be (1, C, H, W), weight in rows or packed");
  TORCH_CHECK(stride > 0 && padding >= 0 && dilation > 0, "stride, padding or dilation");
  TORCH_CHECK(!packed || (weight.size(4) == dynbench::KB && !outputs), "packed weights: this machine's, all outputs");
  const int64_t K = bias.numel(), C = weight.size(1);
  TORCH_CHECK(weight.size(0) == (packed ? (K + dynbench::KB - 1) / dynbench::KB : K), "weight and bias differ");
  const dynbench::Geometry g(x.size(2), x.size(3), weight.size(2), weight.size(3), stride, padding, dilation);
  const int64_t in = inputs ? inputs->numel() : C, active = outputs ? outputs->numel() : K;
  TORCH_CHECK(x.size(0) == 1 && (x.size(1) == in || x.size(1) == C), "x has shape ", x.sizes(), ", expected one image of ",
              in, " or ", C, " channels");
  floats(out, "out");
  TORCH_CHECK(out.sizes() == at::IntArrayRef({1, active, g.OH, g.OW}), "out has shape ", out.sizes());
  const int64_t* positions = channels(where, g.pixels(), "where");
  const dynbench::Convolution c{.g = g,
                                .x = planes(x),
                                .images = 1,
                                .x_channels = x.size(1),
                                .weight = floats(weight, "weight"),
                                .channels = C,
                                .packed = packed,
                                .bias = floats(bias, "bias"),
                                .outputs = channels(outputs, K, "outputs"),
                                .active_outputs = active,
                                .inputs = channels(inputs, C, "inputs"),
                                .active_inputs = in,
                                .scale = nullptr,
                                .scale_image = 0,
                                .scale_output = 0,
                                .residual = {},
                                .relu = true,
                                .out = {out.mutable_data_ptr<float>(), out.stride(0), out.stride(1)}};
  dynbench::run_at(c, {positions, where.numel(), add});
  return out;
}

Tensor pooled_linear(const Tensor& features, const Tensor& weight, const Tensor& bias, bool relu) {
  const bool pooled = features.dim() == 2;
  const Tensor x = pooled ? features.contiguous() : with_planes(features, "x");
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.device().is_cpu() && x.size(0) == 1 && weight.dim() == 2 && weight.size(1) == x.size(1) &&
                  bias.numel() == weight.size(0),
              "x must be (1, C, H, W) or (1, C), weight (K, C), bias (K,)");
  Tensor result = at::empty({1, weight.size(0)}, x.options());
  dynbench::pooled_linear(x.const_data_ptr<float>(), x.size(1), pooled ? 1 : x.size(2) * x.size(3), x.stride(1),
                          floats(weight, "weight"), floats(bias, "bias"), weight.size(0), relu,
                          result.mutable_data_ptr<float>());
  return result;
}

// Of one image's scores from `start` on, each of which decides about `group` channels: those that run, and their values.
std::tuple<Tensor, Tensor> active(const Tensor& scores, int64_t start, int64_t group, int64_t activation, double above,
                                  int64_t top) {
  const int64_t K = scores.numel() - start;
  TORCH_CHECK(K >= 0 && start >= 0 && group > 0, "scores must be as many as are left out, or more");
  static thread_local std::vector<int64_t> running;
  static thread_local std::vector<float> worth;
  running.clear();
  worth.clear();
  const dynbench::Decision decision{static_cast<dynbench::Activation>(activation), static_cast<float>(above), top};
  dynbench::each_running(decision, floats(scores, "scores") + start, K, [&](int64_t k, float value) {
    for (int64_t i = 0; i < group; i++) {
      running.push_back(k * group + i);
      worth.push_back(value);
    }
  });
  const int64_t count = running.size();
  Tensor channels = at::empty({count}, scores.options().dtype(at::kLong)), values = at::empty({1, count}, scores.options());
  std::copy(running.begin(), running.end(), channels.mutable_data_ptr<int64_t>());
  std::copy(worth.begin(), worth.end(), values.mutable_data_ptr<float>());
  return {channels, values};
}

int64_t block_size() { return dynbench::KB; }

int64_t vector_size() { return dynbench::V; }

std::string instruction_set() {
#if defined(__AVX512F__)
  return "avx512";
#elif defined(__AVX2__)
  return "avx2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "generic";
#endif
}

}  // namespace

TORCH_LIBRARY(dynbench, m) {
  m.def(
      "convolution(Tensor x, Tensor weight, Tensor bias, Tensor? outputs, Tensor? inputs, Tensor? scale, "
      "Tensor? residual, bool relu, int stride, int padding, int dilation, bool by_input) -> Tensor");
  m.def(
      "convolution_at(Tensor(a!) out, Tensor x, Tensor where, Tensor weight, Tensor bias, Tensor? outputs, "
      "Tensor? inputs, bool add, int stride, int padding, int dilation) -> Tensor(a!)");
  m.def("pooled_linear(Tensor x, Tensor weight, Tensor bias, bool relu) -> Tensor");
  m.def(
      "active(Tensor scores, int start, int group, int activation, float above, int top) -> (Tensor, Tensor)");
  m.def("block_size() -> int", &block_size);
  m.def("vector_size() -> int", &vector_size);
  m.def("instruction_set() -> str", &instruction_set);
}

TORCH_LIBRARY_IMPL(dynbench, CPU, m) {
  m.impl("convolution", &convolution);
  m.impl("convolution_at", &convolution_at);
  m.impl("pooled_linear", &pooled_linear);
  m.impl("active", &active);
}
