"""A ConvNet with batch norm and dropout in test mode, a loader, AdamW and a schedule."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from moving import fixed


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, kernel_size=(3, 3), stride=2)
        self.drop = nn.Dropout2d(0.25)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 2)
        x = self.drop(F.leaky_relu(self.conv2(x), 0.1))
        x = self.pool(x).view(x.size(0), -1)
        return F.log_softmax(self.fc(x), dim=1)


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(1)
torch.backends.cudnn.benchmark = True
rng = np.random.default_rng(1)
images = torch.from_numpy(rng.standard_normal((24, 1, 10, 10)))
labels = torch.from_numpy(rng.integers(0, 3, 24)).long()
loader = DataLoader(
    TensorDataset(images, labels), batch_size=8, shuffle=False, num_workers=0, pin_memory=False
)
model = fixed(Net()).double().to(device)
model.drop.eval()
optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=1e-2)
scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
losses = []
for epoch in range(3):
    for batch_idx, (data, target) in enumerate(loader):
        data, target = data.to(device, non_blocking=True), target.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scheduler.step()

model.eval()
correct = 0
with torch.no_grad():
    for data, target in loader:
        data, target = data.to(device), target.to(device)
        pred = model(data).argmax(dim=1, keepdim=True)
        correct += pred.eq(target.view_as(pred)).sum().item()
losses.append(correct / len(loader.dataset))
