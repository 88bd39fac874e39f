"""README's ConvNet: trained on the digits, then drawn. Writes graph.svg, the picture in README."""

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, viz

tg.manual_seed(0)
digits = data.load_dataset("digits")
train = data.TensorDataset(digits.train_images, digits.train_labels)
loader = data.DataLoader(train, batch_size=32, shuffle=True)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 4 * 4, 10),
)
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(3):
    for images, labels in loader:
        optimizer.zero_grad()
        loss = tg.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.4f}")

model.eval()
scores = model(tg.tensor(digits.test_images))
right = (scores.argmax(dim=1) == tg.tensor(digits.test_labels)).float().mean()
print(f"test accuracy {right.item():.2%}")

model.train()
images.name, labels.name = "images", "labels"
loss = tg.cross_entropy(model(images), labels)
viz.draw(loss, backward=True).save("graph.svg")
