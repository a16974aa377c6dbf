// A residual net on one image, block by block: the operators of `dynbench` without Python in between. Everything that
// costs multiply-accumulates goes through the dispatcher, so that a FLOP counter sees each operator and its shapes.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/constant_pad_nd.h>
#include <torch/custom_class.h>

#include "decision.h"
#include "vectors.h"

namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Ints = std::vector<int64_t>;

template <class Signature>
auto registered(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

const auto& convolution() {
  static const auto op = registered<Tensor(const Tensor&, const Tensor&, const Tensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, bool, int64_t, int64_t, int64_t, bool)>("dynbench::convolution");
  return op;
}

const auto& pooled_linear() {
  static const auto op = registered<Tensor(const Tensor&, const Tensor&, const Tensor&, bool)>("dynbench::pooled_linear");
  return op;
}

const auto& active() {
  static const auto op = registered<std::tuple<Tensor, Tensor>(const Tensor&, int64_t, int64_t, int64_t, double, int64_t)>("dynbench::active");
  return op;
}

// A convolution with its weights (K, C, KH, KW) in rows and packed; by input, they are made when first needed.
struct Layer {
  Tensor rows, packed, by_input, bias;
  int64_t stride, padding, dilation;

  bool small(const Tensor& x) const {
    return x.size(2) * x.size(3) <= dynbench::V && stride == 1 && rows.size(2) == 3 && rows.size(3) == 3;
  }

  Tensor operator()(const Tensor& x, const OptionalTensor& outputs, const OptionalTensor& inputs,
                    const OptionalTensor& scale, const OptionalTensor& residual, bool relu) {
    const bool transposed = inputs && !outputs && small(x);
    if (transposed && !by_input.defined()) by_input = rows.transpose(0, 1).contiguous();
    const Tensor& weight = outputs ? rows : transposed ? by_input : packed;
    return convolution().call(x, weight, bias, outputs, inputs, scale, residual, relu, stride, padding, dilation, transposed);
  }
};

// What some scores of a gate decide, as it comes from Python: activation, above, top (see decision.h), and whether what runs
// is multiplied by its value.
using Rule = std::tuple<int64_t, double, int64_t, bool>;

// When a gate runs: before the block, so that only active channels are computed; beside its first convolution, which is
// computed whole; or beside it, and the convolution is given up where the block is skipped.
enum class When { first, beside, cancelled };

When when_of(const std::string& name) {
  if (name == "first") return When::first;
  TORCH_CHECK(name == "beside" || name == "cancelled", "a gate runs first, beside or cancelled, not ", name);
  return name == "beside" ? When::beside : When::cancelled;
}

// A linear layer, or two with a ReLU between them, on the pooled input of a block. `layer`: the first score decides about
// the whole branch. `channels`: the others decide about `group` channels each.
struct Gate {
  OptionalTensor hidden_weight, hidden_bias;
  Tensor weight, bias;
  std::optional<Rule> layer, channels;
  int64_t group;
  When when;

  Tensor scores(const Tensor& x) const {
    if (!hidden_weight) return pooled_linear().call(x, weight, bias, false);
    return pooled_linear().call(pooled_linear().call(x, *hidden_weight, *hidden_bias, true), weight, bias, false);
  }
};

enum class Shortcut { identity, convolution, subsample };

struct Block {
  size_t first;
  Ints rest;
  Shortcut shortcut;
  Ints options;  // of `convolution`: which; of `subsample`: stride, channels before, channels after
  std::optional<Gate> gate;
};

struct Decided {
  bool skipped = false;
  OptionalTensor layer, channels, scale;  // none: all, or one
};

class Network : public torch::CustomClassHolder {
 public:
  int64_t add_layer(Tensor rows, Tensor packed, Tensor bias, int64_t stride, int64_t padding, int64_t dilation) {
    layers_.push_back({rows, packed, {}, bias, stride, padding, dilation});
    return static_cast<int64_t>(layers_.size()) - 1;
  }

  void add_block(int64_t first, Ints rest, const std::string& shortcut, Ints options) {
    const auto kind = shortcut == "identity" ? Shortcut::identity : shortcut == "subsample" ? Shortcut::subsample : Shortcut::convolution;
    TORCH_CHECK(!rest.empty(), "a block has two convolutions at least");
    blocks_.push_back({static_cast<size_t>(first), rest, kind, options, std::nullopt});
  }

  // Of the block that was added last.
  void add_gate(OptionalTensor hidden_weight, OptionalTensor hidden_bias, Tensor weight, Tensor bias,
                std::optional<Rule> layer, std::optional<Rule> channels, int64_t group, const std::string& when) {
    blocks_.back().gate = Gate{hidden_weight, hidden_bias, weight, bias, layer, channels, group, when_of(when)};
  }

  void set_ends(int64_t stem, Tensor weight, Tensor bias) {
    stem_ = static_cast<size_t>(stem);
    weight_ = weight;
    bias_ = bias;
  }

  // Image (1, C, H, W) -> logits (1, classes). `kept`: which blocks run, decided beforehand, the others being their
  // shortcut alone, before any ReLU; none: all that gates let.
  Tensor run(const Tensor& image, const std::optional<Ints>& kept) {
    TORCH_CHECK(!kept || kept->size() == blocks_.size(), "one decision for each block");
    Tensor x = layers_[stem_](image, {}, {}, {}, {}, true);
    for (size_t i = 0; i < blocks_.size(); i++) x = kept && !(*kept)[i] ? shortcut(blocks_[i], x, false) : block(blocks_[i], x);
    return pooled_linear().call(x, weight_, bias_, false);
  }

 private:
  Tensor block(const Block& b, const Tensor& x) {
    Layer& first = layers_[b.first];
    const When when = b.gate ? b.gate->when : When::first;
    Tensor hidden;
    if (when == When::beside) hidden = first(x, {}, {}, {}, {}, true);
    const Decided d = b.gate ? decide(*b.gate, x) : Decided();
    if (d.skipped) return shortcut(b, x, true);
    if (when == When::first) {
      hidden = first(x, d.channels, {}, d.scale, {}, true);
    } else {
      if (!hidden.defined()) hidden = first(x, {}, {}, {}, {}, true);
      if (d.scale) hidden = hidden.index_select(1, *d.channels).mul_(d.scale->unsqueeze(2).unsqueeze(3));
    }
    return join(b, hidden, x, d);
  }

  static Decided decide(const Gate& gate, const Tensor& x) {
    Decided d;
    const Tensor scores = gate.scores(x);
    if (gate.layer) {
      const auto [activation, above, top, scales] = *gate.layer;
      float& score = scores.mutable_data_ptr<float>()[0];
      score = dynbench::activated(static_cast<dynbench::Activation>(activation), score);
      d.skipped = !(score > static_cast<float>(above));
      if (scales && score != 1) d.layer = scores.narrow(1, 0, 1);
    }
    if (gate.channels && !d.skipped) {
      const auto [activation, above, top, scales] = *gate.channels;
      const auto [channels, values] = active().call(scores, gate.layer.has_value(), gate.group, activation, above, top);
      d.channels = channels;
      if (scales) d.scale = values;
    }
    return d;
  }

  Tensor join(const Block& b, Tensor hidden, const Tensor& x, const Decided& d) {
    OptionalTensor inputs = d.channels;
    for (size_t i = 0; i + 1 < b.rest.size(); i++) {
      hidden = layers_[b.rest[i]](hidden, {}, inputs, {}, {}, true);
      inputs = std::nullopt;
    }
    return layers_[b.rest.back()](hidden, {}, inputs, d.layer, shortcut(b, x, false), true);
  }

  // `relu`: the one that ends a block, for where nothing is added to the shortcut. Features are not negative where every
  // block ends in one, so that only the convolution has to apply it.
  Tensor shortcut(const Block& b, const Tensor& x, bool relu) {
    if (b.shortcut == Shortcut::identity) return x;
    if (b.shortcut == Shortcut::convolution) return layers_[b.options[0]](x, {}, {}, {}, {}, relu);
    const Tensor some = x.slice(2, 0, x.size(2), b.options[0]).slice(3, 0, x.size(3), b.options[0]);
    return at::constant_pad_nd(some, {0, 0, 0, 0, b.options[1], b.options[2]});
  }

  std::vector<Layer> layers_;
  std::vector<Block> blocks_;
  size_t stem_ = 0;
  Tensor weight_, bias_;
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(dynbench, m) {
  m.class_<Network>("Network")
      .def(torch::init<>())
      .def("add_layer", &Network::add_layer)
      .def("add_block", &Network::add_block)
      .def("add_gate", &Network::add_gate)
      .def("set_ends", &Network::set_ends)
      .def("run", &Network::run);
}
