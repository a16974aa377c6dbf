"""What has to stand beside every accuracy on a data set, wherever it is shown. Reports import it, without torch."""

CAVEATS = {"imagenet-sample": "one training image a class, not ImageNet accuracy"}


def caveat(dataset: str) -> str | None:
    """What an accuracy on the data set is not; None where it is what it seems."""
    return CAVEATS.get(dataset)


def with_caveat(dataset: str) -> str:
    """`cifar10`, or `imagenet-sample (one training image a class, not ImageNet accuracy)`."""
    return f"{dataset} ({CAVEATS[dataset]})" if dataset in CAVEATS else dataset
