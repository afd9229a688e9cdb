// Browsers start no workers for pages that were opened as files. Such a page runs the search in a
// hidden frame instead, which takes and sends messages as a worker does.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.loaded = new Promise(resolve => { this.frame.onload = resolve })
      this.frame.srcdoc = `
        <script>window.postMessage = data => frameElement.receive(data)<\/script>
        <script src="${new URL(url, location.href)}"><\/script>`
      this.frame.receive = data => this.dispatchEvent(new MessageEvent("message", { data }))
      document.body.append(this.frame)
    }

    postMessage(data) {
      this.loaded.then(() => {
        const { contentWindow } = this.frame
        contentWindow.dispatchEvent(new contentWindow.MessageEvent("message", { data }))
      })
    }

    terminate() {
      this.frame.remove()
    }
  }
}
