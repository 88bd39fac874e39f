"""Train on a folder of pictures: python examples/train_folder.py PHOTOS RUN EPOCHS.

PHOTOS/train and PHOTOS/test have a folder of JPEGs for each class. Kill it at any moment, even with
kill -9, and start it again: it goes on, and comes to the same bits.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, models, onnx, optim, train
from tinygrad_cv.data import transforms

photos, run, epochs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
tg.manual_seed(0)
numbers = [
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
]
seen = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32), *numbers])
varied = transforms.Compose(
    [transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip(), *numbers]
)
training = data.ImageFolder(photos / "train", varied)
train_loader = data.DataLoader(training, batch_size=4, shuffle=True)
test_loader = data.DataLoader(data.ImageFolder(photos / "test", seen), batch_size=4)

model = models.resnet18(num_classes=len(training.classes))
optimizer = optim.AdamW(model.parameters(), lr=1e-3)
trainer = train.Trainer(model, optimizer, schedule=train.cosine, clip_grad_norm=1.0)
saving = train.Checkpoint(run / "checkpoints", every_steps=100, every_epochs=1)
trainer.fit(train_loader, test_loader, epochs, callbacks=[saving], resume=run / "checkpoints")
print(f"test accuracy {trainer.evaluate(test_loader):.1%}")

train.save_model(model, run / "model.safetensors")
images = next(iter(test_loader))[0]
onnx.export_model(model, images, run / "model.onnx", input_names=["images"])
if find_spec("onnxruntime"):
    from onnxruntime import InferenceSession as Session
else:
    from onnx.reference import ReferenceEvaluator as Session
[scores] = Session(str(run / "model.onnx")).run(None, {"images": images.numpy()})
print("the ONNX file agrees:", np.allclose(scores, trainer.predict([images]).numpy(), atol=1e-4))
