"""A narrow VGG16 for scikit-learn's digits, with exactly the parameter names of torchvision's vgg16."""

from __future__ import annotations

from torch import Tensor, nn

_WIDTHS = (16, 16, "M", 24, 24, "M", 32, 32, 32, "M", 48, 48, 48, "M", 48, 48, 48, "M")
_HIDDEN = 96


class VGGDigits(nn.Module):
    """features.0 ... features.28 and classifier.0/3/6, as in VGG16, for images of 3 x 32 x 32."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _WIDTHS:
            if isinstance(width, int):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(_HIDDEN, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of images (N, 3, 32, 32)."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def vgg_digits(num_classes: int = 10) -> VGGDigits:
    """Return the untrained model; `--architecture examples/vgg_digits.py:vgg_digits`."""
    return VGGDigits(num_classes)
